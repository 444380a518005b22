//! LMDB's pages, looked at without LMDB: whatever the file holds, the look ends, and says what is wrong.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use larder::engine::lmdb::{DATA_FILE, pages};
use larder::engine::{Engine, Expiry, Options};
use larder::store::{Key, Value};
use libfuzzer_sys::fuzz_target;

/// A file with trees of several levels, and where it can be written.
static SOUND: LazyLock<(Vec<u8>, tempfile::TempDir)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(Options::new(folder.path().join("data"))).expect("an engine");
    for at in 0..120 {
        let key = Key::new(0, format!("{}{at}", "k".repeat(at * 3)).into());
        let value = Value::unchecked(format!("\"{}\"", "v".repeat(at * 40)));
        let put = |txn: &mut larder::engine::WriteTxn<'_>| txn.put(&key, value, Expiry::Never);
        engine.writer().write(1, std::slice::from_ref(&key), put).expect("a write");
    }
    engine.close().expect("an end");
    let file = fs::read(folder.path().join("data/lmdb").join(DATA_FILE)).expect("the file");
    (file, folder)
});

// a change is a place and what stands there then
fuzz_target!(|changes: Vec<(u32, u64, u8)>| {
    let (sound, folder) = &*SOUND;
    let mut file = sound.clone();
    for (place, with, bytes) in changes {
        let at = place as usize % file.len();
        let with = &with.to_ne_bytes()[..usize::from(bytes % 9)];
        let end = (at + with.len()).min(file.len());
        file[at..end].copy_from_slice(&with[..end - at]);
    }
    let path = folder.path().join("changed");
    fs::write(&path, &file).expect("a write");
    let damage = pages::verify(&path).expect("a look");
    if damage.is_empty() {
        assert!(pages::verify_entrance(&path).expect("a look").is_empty());
    }
});

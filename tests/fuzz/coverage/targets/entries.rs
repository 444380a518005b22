//! Journal entries: what is read of one is what it says; written again, it reads the same.
#![no_main]

use larder::engine::effect::Effect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|entry: &[u8]| {
    if let Ok(effects) = Effect::decode_all(entry) {
        let mut written = Vec::new();
        effects.iter().for_each(|effect| effect.encode(&mut written));
        assert_eq!(Effect::decode_all(&written).ok(), Some(effects));
    }
});

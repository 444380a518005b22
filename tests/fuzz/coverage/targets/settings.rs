//! The settings file: what is taken has a text for each setting that is taken, too.
#![no_main]

use larder::config::{self, SETTINGS, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut settings = Settings::default();
    if config::read_file(text, &mut settings).is_err() {
        return;
    }
    let _ = settings.check();
    for setting in SETTINGS {
        let shown = (setting.get)(&settings);
        let mut again = settings.clone();
        if let Err(why) = (setting.set)(&mut again, &shown) {
            panic!("{} '{shown}': {why}", setting.name);
        }
        assert_eq!((setting.get)(&again), shown, "{}", setting.name);
    }
});

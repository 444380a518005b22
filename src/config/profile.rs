//! Profiles: defaults of settings for one purpose. Whatever else sets a setting takes precedence over them.

use super::Settings;
use crate::engine::Fsync;
use crate::store::ValueKind;
use crate::store::eviction::{Order, Policy};

/// A profile, as `--profile` names it.
struct Profile {
    name: &'static str,
    apply: fn(&mut Settings),
}

const PROFILES: &[Profile] = &[Profile {
    name: "cache",
    apply: |settings| {
        settings.default_values = ValueKind::Any;
        settings.appendfsync = Fsync::EverySec;
        // what clears a cache asks for all its keys
        settings.max_keys_per_query = 0;
        settings.max_bytes = Some(1 << 30);
        settings.maxmemory_policy = Some(Policy { order: Order::Lfu, only_expiring: false });
    },
}];

/// The defaults of a profile.
pub fn settings_of(name: &str) -> Result<Settings, String> {
    let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
    let found = PROFILES.iter().find(|profile| profile.name == name);
    let profile =
        found.ok_or_else(|| format!("there is no profile '{name}'; there is: {}", names.join(", ")))?;
    let mut settings = Settings::default();
    (profile.apply)(&mut settings);
    Ok(settings)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_known_by_its_name() {
        for Profile { name, .. } in PROFILES {
            settings_of(name).unwrap().check().unwrap();
        }
        assert_eq!(settings_of("cash").unwrap_err(), "there is no profile 'cash'; there is: cache");
    }
}

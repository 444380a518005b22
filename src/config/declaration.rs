//! The declaration of a setting.

use super::Settings;

/// A setting, as `settings` declares it.
pub struct Setting {
    /// The name on the command line, in files and in CONFIG. It is Redis's name if Redis has the setting.
    pub name: &'static str,
    /// Former names. They are accepted wherever `name` is accepted.
    pub former_names: &'static [&'static str],
    /// A placeholder for its value, for `--help`.
    pub value: &'static str,
    pub help: &'static str,
    /// The heading below which `--help` lists it.
    pub group: &'static str,
    /// Whether it is one of the few that one needs first, which `-h` lists, and `--help` before all others.
    pub is_first: bool,
    /// Whether its value must not be shown to others, as in the slow log.
    pub is_secret: bool,
    pub when: When,
    pub get: fn(&Settings) -> String,
    /// Parses a value. The error says what is allowed.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// When a setting can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Only before the server starts.
    Start,
    /// At any time, by CONFIG SET. The server does this then.
    Any(Effect),
}

/// What a running server does when CONFIG SET has named a setting, also if its value is what it was before.
///
/// `command::server::config` carries them out in this order. Those that can refuse the change come first, and of these TLS
/// is the last, because it can't be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: the value is read where it is needed.
    None,
    /// Makes room for the clients among the files that the process may open, or refuses.
    Clients,
    /// Reads all files of TLS again, or refuses.
    Tls,
    /// Tells the journal when to sync.
    Fsync,
    /// Tells the engine how to compress.
    Compression,
    /// Tells the engine the limits over all stores.
    Quota,
    /// Tells the engine which values are accepted by stores that have no setting of their own.
    DefaultValues,
    /// Tells the slow log and the latency monitor their thresholds.
    Thresholds,
    /// Starts or stops the histograms of commands.
    Latencies,
    /// Tells publish/subscribe and client-side caching their limits, and which changes are published.
    Push,
    /// Tells the access control list which channels new users may use.
    NewUsers,
    /// Changes the password of the user `default`.
    Password,
    /// Changes the log level. No other setting has this effect, because `RUST_LOG` may have set another filter.
    LogLevel,
}

impl Setting {
    /// Its names: the current one, then former ones.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.name].into_iter().chain(self.former_names.iter().copied())
    }
}

/// The environment variable that sets a setting: `LARDER_HTTP_PORT`.
pub fn variable(name: &str) -> String {
    format!("LARDER_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Makes of a list of declarations the struct `Settings` with a field for each, its defaults, and the table `SETTINGS`.
///
/// A declaration is `field: type = default => { name, value, form, when, help }`, below the heading of its group. The form
/// (`super::form`) parses and shows values of the type. `former` is an older name of the setting. With `kept`, an atomic
/// of that type holds the value, too, for settings that every request reads: `Config::field()` reads it without a lock.
macro_rules! settings {
    ($($group:literal: $(
        $(#[$meta:meta])*
        $field:ident: $type:ty = $default:expr => {
            name: $name:literal,
            $(former: $former:literal,)?
            value: $value:literal,
            form: $form:expr,
            when: $when:expr,
            $(kept: $atomic:ty,)?
            $(is_first: $is_first:literal,)?
            $(is_secret: $is_secret:literal,)?
            help: $help:literal,
        }
    )*)*) => {
        /// The values of all settings.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[doc = $help] $(#[$meta])* pub $field: $type,)*)*
            /// The values of `user` in the settings file, each with a name and rules.
            pub users: Vec<String>,
            /// Values that CONFIG SET gave to settings of Redis that do nothing here.
            pub remembered: BTreeMap<&'static str, String>,
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($($field: $default,)*)* users: Vec::new(), remembered: BTreeMap::new() }
            }
        }

        /// All settings, in the order of `--help`.
        pub static SETTINGS: &[Setting] = &[$($(Setting {
            name: $name,
            former_names: &[$($former)?],
            value: $value,
            help: $help,
            group: $group,
            is_first: false $(|| $is_first)?,
            is_secret: false $(|| $is_secret)?,
            when: $when,
            get: |settings| Form::show(&$form, &settings.$field),
            set: |settings, text| {
                settings.$field = Form::parse(&$form, text, &settings.$field)?;
                Ok(())
            },
        },)*)*];

        /// The values that every request reads.
        #[derive(Debug, Default)]
        pub struct Kept {
            $($($($field: $atomic,)?)*)*
        }

        impl Kept {
            pub fn store(&self, settings: &Settings) {
                $($($(<$atomic>::store(&self.$field, settings.$field, Ordering::Relaxed);)?)*)*
            }
        }

        impl Config {
            $($($(
                #[doc = $help]
                pub fn $field(&self) -> $type {
                    <$atomic>::load(&self.kept.$field, Ordering::Relaxed)
                }
            )?)*)*
        }
    };
}
pub(super) use settings;

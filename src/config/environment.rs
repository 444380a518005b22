//! Environment variables that begin like those of settings, but do not set one.
//!
//! A variable with almost the name of a setting is taken for a typing error and refused, as on the command line and in
//! the settings file. Others may belong to something else (`LARDER_IMAGE`, `LARDER_PASSWORD` for a client), so the log
//! names them and they are ignored.
//!
//! Kubernetes gives each container variables for all Services of its namespace, and Docker did so for linked
//! containers. Those of a Service called `larder` begin like settings, and one of them has the name of a setting:
//! `LARDER_PORT=tcp://10.0.0.1:6379`. They are recognized by their form and are never taken for settings.

use std::collections::HashMap;
use std::ffi::OsString;

use super::declaration::{Setting, variable};
use super::nearest::nearest_setting;
use super::settings::RETIRED;

const PREFIX: &str = "LARDER_";
/// Variables that belong to no setting but are read by the program.
const OTHERS: [&str; 3] = ["LARDER_CONFIG", "LARDER_PROFILE", "LARDER_URL"];

/// The settings in the environment.
#[derive(Debug, Default)]
pub struct Environment {
    /// Settings by name, and their values as texts.
    pub settings: HashMap<&'static str, String>,
    /// Sentences for the log about variables that have no effect.
    pub warnings: Vec<String>,
}

/// Reads the variables that begin like those of settings. Fails with a sentence if one is a typing error.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Environment, String> {
    let mut environment = Environment::default();
    let (mut links, mut unknown) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let as_setting = rest.to_ascii_lowercase().replace('_', "-");
        if let Some((_, instead)) = RETIRED.iter().find(|(retired, _)| *retired == as_setting) {
            return Err(format!("{name} is in the environment, but {as_setting} {instead}"));
        }
        if is_service_link(&name, &value.to_string_lossy()) {
            links.push(name);
        } else if let Some(setting) = Setting::find(&as_setting).filter(|_| variable(&as_setting) == name) {
            let text =
                value.into_string().map_err(|_| format!("{name} is in the environment, but not in UTF-8"))?;
            // the current name counts, if the former one is there, too
            if as_setting == setting.name {
                environment.settings.insert(setting.name, text);
            } else {
                environment.settings.entry(setting.name).or_insert(text);
            }
        } else if OTHERS.contains(&name.as_str()) {
        } else if let Some(meant) = nearest_setting(&as_setting) {
            return Err(format!(
                "{name} is in the environment, but there is no such setting; {} is one: rename the variable, or unset it",
                variable(meant)
            ));
        } else {
            unknown.push(name);
        }
    }
    if !links.is_empty() {
        links.sort_unstable();
        environment.warnings.push(format!(
            "the environment has variables of a Service or linked container with a name like larder, which are not settings: \
             {} (in Kubernetes, enableServiceLinks: false keeps them out)",
            links.join(" ")
        ));
    }
    if !unknown.is_empty() {
        unknown.sort_unstable();
        let unknown = unknown.join(" ");
        environment.warnings.push(format!("these variables of the environment are no settings: {unknown}"));
    }
    Ok(environment)
}

/// Whether a variable describes a Service of Kubernetes, or a container that Docker has linked:
/// `X_SERVICE_HOST`, `X_SERVICE_PORT[_NAME]`, `X_PORT=tcp://…`, `X_PORT_6379_TCP[_PROTO|_PORT|_ADDR]`.
pub fn is_service_link(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    let Some(rest) = name.strip_prefix("LARDER") else { return false };
    if rest.ends_with("_SERVICE_HOST") || rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_") {
        return true;
    }
    if rest.ends_with("_PORT") && value.split_once("://").is_some_and(|(kind, _)| PROTOCOLS.contains(&kind)) {
        return true;
    }
    rest.split("_PORT_").skip(1).any(|tail| {
        let mut words = tail.split('_');
        let is_number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
        is_number && words.next().is_some_and(|word| PROTOCOLS.contains(&word.to_ascii_lowercase().as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<Vec<String>, String> {
        read([(name.into(), value.into())].into_iter()).map(|environment| environment.warnings)
    }

    #[test]
    fn what_is_a_setting_or_of_others_is_no_matter() {
        for name in ["LARDER_PORT", "LARDER_HTTP_BIND", "LARDER_CONFIG", "LARDER_URL", "PATH", "larder_port"]
        {
            assert_eq!(checked(name, "1"), Ok(vec![]), "{name}");
        }
    }

    #[test]
    fn a_slip_is_refused_with_the_name_that_is_meant() {
        for (name, meant) in [
            ("LARDER_REQUIREPAS", "LARDER_REQUIREPASS is one"),
            ("LARDER_APPENDFYSNC", "LARDER_APPENDFSYNC is one"),
            ("LARDER_LOG_LEVEL", "LARDER_LOGLEVEL is one"),
            ("LARDER_MAXCLIENT", "LARDER_MAXCLIENTS is one"),
            ("LARDER_SALVAGE", "larder salvage"),
        ] {
            let why = checked(name, "x").err().unwrap_or_default();
            assert!(why.starts_with(name) && why.contains(meant), "{name}: {why}");
        }
    }

    #[test]
    fn what_may_be_anybodys_is_told() {
        for name in ["LARDER_IMAGE", "LARDER_PASSWORD", "LARDER_VERSION", "LARDER_TEST_SEED"] {
            let told = checked(name, "x").unwrap_or_default().concat();
            assert!(told.starts_with("these variables") && told.ends_with(name), "{name}: {told}");
        }
    }

    /// The variables that Kubernetes sets for a Service, and Docker for a link.
    #[test]
    fn variables_of_a_service_are_no_settings() {
        for (name, value) in [
            ("LARDER_PORT", "tcp://10.0.0.1:6379"),
            ("LARDER_SERVICE_HOST", "10.0.0.1"),
            ("LARDER_SERVICE_PORT", "6379"),
            ("LARDER_SERVICE_PORT_REDIS", "6379"),
            ("LARDER_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
            ("LARDER_PORT_6379_TCP_PROTO", "tcp"),
            ("LARDER_PORT_6379_TCP_PORT", "6379"),
            ("LARDER_PORT_6379_TCP_ADDR", "10.0.0.1"),
            ("LARDER_PORT_53_UDP_ADDR", "10.0.0.1"),
            // a Service called larder-http
            ("LARDER_HTTP_PORT", "tcp://10.0.0.1:8379"),
            ("LARDER_HTTP_SERVICE_HOST", "10.0.0.1"),
            ("LARDER_HTTP_PORT_8379_TCP_PORT", "8379"),
        ] {
            assert!(is_service_link(name, value), "{name}");
            let told = checked(name, value).unwrap_or_default().concat();
            assert!(told.contains(name) && told.contains("enableServiceLinks"), "{name}: {told}");
        }
        for (name, value) in [
            ("LARDER_PORT", "6379"),
            ("LARDER_PORT", "http://x"),
            ("LARDER_TLS_PORT", ""),
            ("PORT", "tcp://x"),
        ] {
            assert!(!is_service_link(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_former_name_counts_unless_the_current_one_is_there() {
        let (former, current) = (("LARDER_OVERLAY_MEMORY", "1mb"), ("LARDER_MEMTABLE_MEMORY", "2mb"));
        for (variables, counts) in [
            (&[former][..], "1mb"),
            (&[current], "2mb"),
            (&[former, current], "2mb"),
            (&[current, former], "2mb"),
        ] {
            let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
            let environment = read(variables).unwrap_or_default();
            assert_eq!(environment.settings.get("memtable-memory").map(String::as_str), Some(counts));
            assert_eq!(environment.warnings, [""; 0]);
        }
    }
}

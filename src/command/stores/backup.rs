//! BACKUP: a copy of all stores, on the server's disk. See [`crate::engine::backup`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::acl::Access;
use crate::command::base::reach::Stores;
use crate::command::base::{Call, Flags, Plan, Spec, control, reply};
use crate::engine::Writer;
use crate::error::Error;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "backup",
    syntax: "directory",
    summary: "Writes a verified copy of all stores, as of one instant, into an empty or missing directory on the server's machine (a command of Larder)",
    since: "0.1.0",
    complexity: "O(N) where N is the number of records",
    arity: 2,
    flags: Flags::ADMIN
        .union(Flags::NOSCRIPT)
        .union(Flags::NO_MULTI)
        .union(Flags::LONG)
        .union(Flags::CONTROL),
    stores: Stores::All,
    all_keys: Access::READ,
    plan: |_| control(backup),
    ..Spec::DEFAULT
}];

fn backup(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let dir = Path::new(OsStr::from_bytes(call.arg(1)));
    if !dir.is_absolute() {
        return Err(Error::other("ERR the directory of a backup is an absolute path"));
    }
    tracing::info!(dir = %dir.display(), client = call.session.client.id, "BACKUP: begins");
    let backup = engine.back_up(dir).map_err(|error| {
        tracing::error!(dir = %dir.display(), %error, "BACKUP: failed");
        Error::other(format!("ERR the backup failed: {error}"))
    })?;
    tracing::info!(dir = %dir.display(), records = backup.records, "BACKUP: done");
    let told = [
        ("stores", backup.stores),
        ("records", backup.records),
        ("file_bytes", backup.file_bytes),
        ("through_entry", backup.through),
    ];
    let number = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    reply(Reply::Map(told.into_iter().map(|(name, value)| (Reply::text(name), number(value))).collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::tests::harness::{Harness, shown};

    #[test]
    fn a_backup_tells_what_it_holds() {
        let mut h = Harness::new();
        let dir = tempfile::tempdir().unwrap();
        let command = format!("BACKUP {}", dir.path().join("copy").display());
        h.expect(&[("SET k 1", "OK"), ("BACKUP copy", "-ERR the directory of a backup is an absolute path")]);
        let told = shown(&h.run(&command));
        assert!(told.contains(r#""records": 1, "#), "{told}");
        assert!(shown(&h.run(&command)).starts_with("-ERR the backup failed: the directory "));
    }
}

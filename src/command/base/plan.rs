//! Plans: commands whose arguments were parsed, ready to run.

use smallvec::SmallVec;

use crate::command::base::Call;
use crate::engine::{ReadTxn, Seq, WriteTxn, Writer};
use crate::error::Error;
use crate::resp::Reply;
use crate::store::Key;

/// Keys that a command declares in addition to those at the key positions of its spec: in another store.
pub type MoreKeys = SmallVec<[Key; 1]>;

/// The closure of a plan that reads.
pub type Reading = dyn FnOnce(&ReadTxn<'_>) -> Result<Reply, Error>;
/// The closure of a plan that writes.
pub type Writing = dyn FnOnce(&mut WriteTxn<'_>) -> Result<Reply, Error>;

/// The closure of a plan that controls the engine.
pub type Controlling = dyn FnOnce(&mut Call<'_>, Writer<'_>) -> Result<Plan, Error>;

/// The part of a command that runs after its arguments were parsed.
pub enum Plan {
    /// Nothing.
    Reply(Reply),
    /// Nothing is left to do, and the reply reflects the changes up to this sequence number.
    Reflecting(Reply, Seq),
    /// The command is too much work for a network thread. It has to be planned again on a thread that may block.
    Aside,
    Read(Box<Reading>),
    Write(Box<Writing>, MoreKeys),
    /// Only for a command that is declared with [`CONTROL`](crate::command::Flags::CONTROL). It returns another plan,
    /// which runs next.
    Control(Box<Controlling>),
}

/// A plan that reads the declared keys.
pub fn read(run: impl FnOnce(&ReadTxn<'_>) -> Result<Reply, Error> + 'static) -> Result<Plan, Error> {
    Ok(Plan::Read(Box::new(run)))
}

/// A plan that reads and writes the declared keys.
pub fn write(run: impl FnOnce(&mut WriteTxn<'_>) -> Result<Reply, Error> + 'static) -> Result<Plan, Error> {
    Ok(Plan::Write(Box::new(run), MoreKeys::new()))
}

/// A plan that reads the first declared key.
pub fn read_key(
    run: impl FnOnce(&ReadTxn<'_>, &Key) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    read(move |txn| run(txn, txn.key()?))
}

/// A plan that reads and writes the first declared key.
pub fn write_key(
    run: impl FnOnce(&mut WriteTxn<'_>, &Key) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    write(move |txn| {
        let key = txn.key()?;
        run(txn, key)
    })
}

/// A plan that reads and writes the declared keys, and some more.
pub fn write_also(
    more: MoreKeys,
    run: impl FnOnce(&mut WriteTxn<'_>) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    Ok(Plan::Write(Box::new(run), more))
}

/// A plan that controls the engine: it creates stores, runs a group, a checkpoint or a backup, or changes settings.
pub fn control(
    run: impl FnOnce(&mut Call<'_>, Writer<'_>) -> Result<Plan, Error> + 'static,
) -> Result<Plan, Error> {
    Ok(Plan::Control(Box::new(run)))
}

/// A plan with nothing left to do.
pub fn reply(reply: Reply) -> Result<Plan, Error> {
    Ok(Plan::Reply(reply))
}

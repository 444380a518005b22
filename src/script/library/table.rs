//! The functions of `table`, and `unpack`, whose time or range is not bounded in Lua's own library.

use std::sync::Arc;

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::{Arguments, Bounds, Failure, Library, RESULTS_MAX};

/// How much work moving an element counts as.
const ELEMENT_STEPS: usize = 64;

/// `unpack`, and the functions of `table` that take time. `own` is Lua's library of that name.
pub fn library(lua: &Lua, own: &Table, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let library = Library::new(lua, bounds)?;
    library.add("unpack", unpack)?;
    let own_insert: Function = own.get("insert")?;
    library.add("insert", move |_, args| insert(args, &own_insert))?;
    let own_remove: Function = own.get("remove")?;
    library.add("remove", move |_, args| remove(args, &own_remove))?;
    for name in ["concat", "maxn"] {
        library.guard(name, own.get(name)?)?;
    }
    Ok(library.table)
}

/// Lua's own computes the number of results in an `int`, which may overflow, and then writes beyond its stack.
fn unpack(_: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    let table = args.table(0)?;
    let first = if args.get(1).is_nil() { 1 } else { args.integer(1)? };
    let last = if args.get(2).is_nil() { length(table) } else { args.integer(2)? };
    if first > last {
        return Ok(MultiValue::new());
    }
    if last - first >= RESULTS_MAX as i64 {
        return Err(Failure::Script("too many results to unpack".to_owned()));
    }
    let values = (first..=last).map(|index| table.raw_get::<Value>(index));
    Ok(values.collect::<mlua::Result<Vec<Value>>>()?.into_iter().collect())
}

/// Lua's own moves any number of elements, even ones that don't exist.
fn insert(args: &Arguments, own: &Function) -> Result<MultiValue, Failure> {
    let table = args.table(0)?;
    if args.len() != 3 {
        return args.forward(own);
    }
    // read as Lua's own function reads it, which then gets it
    let (end, position) = (length(table) + 1, i64::from(args.int(1)?));
    if is_short(end - position) {
        return args.forward(own);
    }
    for index in (position + 1..=end).rev() {
        args.spend(ELEMENT_STEPS)?;
        table.raw_set(index, table.raw_get::<Value>(index - 1)?)?;
    }
    table.raw_set(position, args.get(2))?;
    Ok(MultiValue::new())
}

fn remove(args: &Arguments, own: &Function) -> Result<MultiValue, Failure> {
    let table = args.table(0)?;
    let end = length(table);
    let position = if args.get(1).is_nil() { end } else { i64::from(args.int(1)?) };
    if !(1..=end).contains(&position) || is_short(end - position) {
        return args.forward(own);
    }
    let removed: Value = table.raw_get(position)?;
    for index in position..end {
        args.spend(ELEMENT_STEPS)?;
        table.raw_set(index, table.raw_get::<Value>(index + 1)?)?;
    }
    table.raw_set(end, Value::Nil)?;
    Ok(MultiValue::from_iter([removed]))
}

/// Whether Lua's own function may move so many elements: it can't be stopped, but takes a tenth of the time.
fn is_short(elements: i64) -> bool {
    const SHORT: i64 = 10_000;
    elements <= SHORT
}

fn length(table: &Table) -> i64 {
    table.raw_len() as i64
}

impl Arguments<'_> {
    fn table(&self, at: usize) -> Result<&Table, Failure> {
        match self.get(at) {
            Value::Table(table) => Ok(table),
            _ => Err(self.wrong(at, "table")),
        }
    }

    /// The number at a position; one that is out of the range of an `int` is the nearest that is in it.
    fn integer(&self, at: usize) -> Result<i64, Failure> {
        Ok((self.number(at)? as i64).clamp(i64::from(i32::MIN), i64::from(i32::MAX)))
    }
}

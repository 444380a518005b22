//! `math.random` and `math.randomseed`: the same numbers on every machine, and those of Redis.

use std::sync::Arc;

use mlua::{Lua, Table};
use parking_lot::Mutex;

use super::{Arguments, Bounds, Failure, Library};

/// `drand48` of POSIX: 48 bits, of which the highest 31 are returned.
struct Generator(u64);

impl Generator {
    fn new(seed: i32) -> Generator {
        const LOW_BITS: u64 = 0x330e;
        Generator(u64::from(seed as u32) << 16 | LOW_BITS)
    }

    /// From 0 up to but not including 1.
    fn next(&mut self) -> f64 {
        const MAX: u64 = i32::MAX as u64;
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & 0xffff_ffff_ffff;
        ((self.0 >> 17) % MAX) as f64 / MAX as f64
    }
}

pub fn library(lua: &Lua, seed: u32, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let library = Library::new(lua, bounds)?;
    let generator = Arc::new(Mutex::new(Generator::new(seed as i32)));
    let shared = generator.clone();
    library.add("random", move |_, args| random(args, &mut shared.lock()))?;
    library.add("randomseed", move |_, args| {
        *generator.lock() = Generator::new(args.int(0)?);
        Ok(())
    })?;
    Ok(library.table)
}

fn random(args: &Arguments, generator: &mut Generator) -> Result<f64, Failure> {
    let number = generator.next();
    match args.len() {
        0 => Ok(number),
        1 => {
            let upper = args.int(0)?;
            if upper < 1 {
                return Err(args.bad(0, "interval is empty"));
            }
            Ok((number * f64::from(upper)).floor() + 1.0)
        }
        2 => {
            let (lower, upper) = (args.int(0)?, args.int(1)?);
            if lower > upper {
                return Err(args.bad(1, "interval is empty"));
            }
            // in `int`, as Redis computes it
            let width = upper.wrapping_sub(lower).wrapping_add(1);
            Ok((number * f64::from(width)).floor() + f64::from(lower))
        }
        _ => Err(Failure::Script("wrong number of arguments".to_owned())),
    }
}

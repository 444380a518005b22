//! LOLWUT: a picture of a larder, never the same twice.

use crate::command::base::{Call, Plan, reply};
use crate::error::Error;
use crate::resp::Reply;

const JARS: [&str; 6] = ["{ }", "[,]", "\" \"", "1.0", "nul", "tru"];
const SHELVES: usize = 3;
const PLACES: usize = 7;

pub fn lolwut(call: &mut Call<'_>) -> Result<Plan, Error> {
    // there is one picture, whichever version is requested
    if call.args.len() >= 3 && call.is(1, "version") {
        call.integer(2)?;
    }
    let mut picture = String::new();
    for _ in 0..SHELVES {
        let jars: Vec<Option<&str>> = (0..PLACES).map(|_| jar(call.server.random())).collect();
        let line = |full: &dyn Fn(&str) -> String| -> String {
            jars.iter().map(|jar| jar.map_or("       ".to_owned(), full)).collect()
        };
        picture += &format!("|{}|\n", line(&|_| "  ___  ".into()));
        picture += &format!("|{}|\n", line(&|label| format!(" |{label}| ")));
        picture += &format!("|{}|\n", "=".repeat(7 * PLACES));
    }
    picture += &format!("Larder ver. {}\n", env!("CARGO_PKG_VERSION"));
    reply(Reply::Verbatim(picture.into()))
}

/// What is in a place; one in seven is empty.
fn jar(random: u64) -> Option<&'static str> {
    JARS.get((random % (JARS.len() as u64 + 1)) as usize).copied()
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::Harness;
    use crate::resp::Reply;

    #[test]
    fn a_version_is_a_number() {
        Harness::new().expect(&[("LOLWUT VERSION abc", "-ERR value is not an integer or out of range")]);
    }

    #[test]
    fn the_shelves_are_straight() {
        let Reply::Verbatim(picture) = Harness::new().run("LOLWUT VERSION 5 1 2") else {
            panic!("no picture")
        };
        let picture = String::from_utf8_lossy(&picture);
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(lines.len(), 3 * super::SHELVES + 1);
        let (version, shelves) = lines.split_last().unwrap_or((&"", &[]));
        assert!(shelves.iter().all(|line| line.len() == 7 * super::PLACES + 2), "{picture}");
        assert_eq!(*version, concat!("Larder ver. ", env!("CARGO_PKG_VERSION")));
    }
}

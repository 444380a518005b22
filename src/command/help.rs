//! HELP of a command with subcommands, out of their declarations.

use super::{Call, Plan, reply, table};
use crate::resp::Reply;

/// The plan of every `…|help`. In Redis the lines are simple strings, here bulk strings; clients see no difference.
pub fn help(call: &mut Call<'_>) -> Result<Plan, crate::error::Error> {
    let container = call.spec.name.split('|').next().unwrap_or_default();
    let subcommands = table::find(container.as_bytes()).map_or(&[][..], |spec| spec.subcommands);
    let mut lines = vec![format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.to_uppercase()
    )];
    for sub in subcommands {
        lines.push(format!("{} {}", sub.last_name().to_uppercase(), sub.syntax).trim_end().to_owned());
        lines.push(format!("    {}.", sub.summary));
    }
    reply(Reply::Array(lines.into_iter().map(Reply::text).collect()))
}

#[cfg(test)]
mod tests {
    use crate::command::table;
    use crate::command::testing::{Harness, shown};

    #[test]
    fn help_lists_every_subcommand() {
        let mut h = Harness::new();
        for container in ["object", "memory", "store"] {
            let help = shown(&h.run(&format!("{container} HELP")));
            assert!(help.starts_with(&format!("[\"{} <subcommand>", container.to_uppercase())), "{help}");
            for sub in table::find(container.as_bytes()).expect(container).subcommands {
                assert!(help.contains(&format!("\"{}", sub.last_name().to_uppercase())), "{help}");
                assert!(help.contains(sub.summary), "{help}");
            }
        }
    }
}

//! `zonectl audit`.

use anyhow::Result;
use zoned_api::{Leftover, Method, Reply};

use super::App;
use crate::{
    daemon,
    output::table::{Field, Look, Table, left},
};

/// List what belongs to no living zone: cgroups, mounts, pins, processes, folders
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit status 1 if something is left over.\n\nExample: zonectl audit && echo clean")]
pub(crate) struct Args {
    /// One JSON document: { "leftovers": [ … ] }
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let leftovers = match client.call(Method::Audit {}).await? {
        Reply::Leftovers { leftovers } => leftovers,
        other => return Err(daemon::unexpected(&other)),
    };
    if args.json {
        app.out.json(&serde_json::json!({ "leftovers": leftovers }))?;
    } else if leftovers.is_empty() {
        app.out.notice("nothing is left over");
    } else {
        app.out.data(&table(&leftovers).render(Look { colour: app.out.colour, ..Look::default() }))?;
    }
    Ok(u8::from(!leftovers.is_empty()))
}

fn table(leftovers: &[Leftover]) -> Table {
    let mut table = Table::new(vec![left("KIND"), left("OBJECT"), left("ZONE")]);
    for left in leftovers {
        table.row(vec![Field::new(&left.kind), Field::new(&left.object), Field::maybe(left.uuid.as_ref())]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_escaped() {
        let left = Leftover { kind: "process".into(), object: "7 (a\x1b[7m)".into(), uuid: None };
        let text = table(&[left]).render(Look::default());
        assert_eq!(text, "KIND     OBJECT          ZONE\nprocess  7 (a\\u{1b}[7m)  -");
    }
}

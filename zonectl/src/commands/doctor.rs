//! `zonectl doctor`.

use anyhow::Result;
use zoned_api::{Finding, Method, Reply, report::Verdict};

use super::App;
use crate::{
    daemon,
    output::table::{Field, Look, Table, Tone, left},
};

/// Show what this host offers, and what that means for zones
#[derive(clap::Args, Debug)]
#[command(after_help = "The daemon looks, since it is the one who will need it.\n\nExample: zonectl doctor")]
pub(crate) struct Args {
    /// One JSON document: { "findings": [ … ] }
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<u8> {
    let mut client = app.connect().await?;
    let findings = match client.call(Method::Doctor {}).await? {
        Reply::Findings { findings } => findings,
        other => return Err(daemon::unexpected(&other)),
    };
    if args.json {
        app.out.json(&serde_json::json!({ "findings": findings }))?;
        return Ok(0);
    }
    let look = Look { colour: app.out.colour, headless: false, width: app.out.width() };
    app.out.data(&table(&findings).render(look))?;
    Ok(0)
}

fn table(findings: &[Finding]) -> Table {
    let mut table =
        Table::new(vec![left("SUBJECT"), left("VERDICT"), left("FOUND"), left("MEANING")]).prose();
    for finding in findings {
        let (word, tone) = match finding.verdict {
            Verdict::Good => ("good", Tone::Good),
            Verdict::Limited => ("limited", Tone::Warn),
            Verdict::Missing => ("missing", Tone::Bad),
        };
        table.row(vec![
            Field::new(&finding.subject),
            Field::new(word).tone(tone),
            Field::new(&finding.found),
            Field::new(&finding.meaning),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_finding() {
        let finding = |subject: &str, verdict| Finding {
            subject: subject.into(),
            verdict,
            found: "hybrid".into(),
            meaning: "limits by v1".into(),
        };
        let findings = [finding("cgroup", Verdict::Limited), finding("eBPF tp_btf", Verdict::Missing)];
        assert_eq!(
            table(&findings).render(Look::default()),
            "SUBJECT      VERDICT  FOUND   MEANING\n\
             cgroup       limited  hybrid  limits by v1\n\
             eBPF tp_btf  missing  hybrid  limits by v1"
        );
    }
}

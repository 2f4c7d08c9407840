//! Kernels that weigh groups by their busy tasks unless they are told not to (Linux 7.3).

use std::fs;

use zone_tests::TestCtx;

const MODE: &str = "/sys/kernel/debug/sched/cgroup_mode";

/// The mode, where the kernel has a choice and this machine shows it.
fn mode() -> Option<String> {
    let text = fs::read_to_string(MODE).ok()?;
    let word = text.split_whitespace().find(|word| word.starts_with('('))?;
    Some(word.trim_matches(['(', ')']).to_owned())
}

/// Other tests' daemons hold the mode too: it is looked at while one of ours does.
#[test]
fn shares_hold_while_a_daemon_serves() {
    if mode().is_none() {
        println!("skipped: this kernel has one way to weigh groups, or debugfs is not mounted");
        return;
    }
    let mut ctx = TestCtx::new();
    let fairness = |ctx: &TestCtx| {
        let findings = ctx.json(&["doctor"]);
        let findings = findings["findings"].as_array().unwrap();
        findings.iter().find(|f| f["subject"] == "fairness of shares").unwrap()["verdict"].clone()
    };
    assert_eq!((mode().as_deref(), fairness(&ctx)), (Some("smp"), "good".into()));
    let before = fs::read_to_string("/run/zoned-cgroup-mode").unwrap();
    assert!(!before.is_empty() && before != "smp", "{before:?}");
    // Another daemon that ends takes nothing away from this one, and one that is killed leaves it as it is.
    TestCtx::new().finish();
    assert_eq!(mode().as_deref(), Some("smp"));
    ctx.kill_daemon();
    assert_eq!(mode().as_deref(), Some("smp"));
    ctx.start_daemon();
    assert_eq!((mode().as_deref(), fairness(&ctx)), (Some("smp"), "good".into()));
    ctx.finish();
    // The last one has put it back; others may have taken it again.
    if !fs::exists("/run/zoned-cgroup-mode").unwrap() {
        println!("put back: {:?}", mode());
    }
}

//! Who gets which CPUs, and in which order.

use super::*;

fn set(text: &str) -> CpuSet {
    CpuSet::parse(text).unwrap()
}

/// `a:1!` has CPU 1 for itself, `b:0-1` may run on both, `c:` on all.
fn asking(text: &str) -> Asking {
    let (zone, cpus) = text.split_once(':').unwrap();
    let (cpus, dedicated) = cpus.strip_suffix('!').map_or((cpus, false), |cpus| (cpus, true));
    let cpus = (!cpus.is_empty()).then(|| set(cpus));
    Asking { tag: format!("{zone}.1"), zone: zone.into(), cpus, dedicated }
}

/// Those of the others that have theirs.
fn held(others: &[Asking]) -> Vec<(String, CpuSet)> {
    others.iter().filter_map(|o| Some((o.tag.clone(), o.wanted()?.clone()))).collect()
}

fn refused(own: &str, others: &[&str]) -> String {
    let others: Vec<_> = others.iter().map(|text| asking(text)).collect();
    conflict(&asking(own), &others, &held(&others), &set("0-3"))
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default()
}

fn written(own: &str, others: &[&str], now: Option<&str>) -> String {
    let others: Vec<_> = others.iter().map(|text| asking(text)).collect();
    let steps = steps(&asking(own), &others, &held(&others), now.map(set).as_ref());
    shown(&steps)
}

fn shown(steps: &[Step]) -> String {
    let file = |file: &str| file.trim_start_matches("cpuset.").replace("cpus.", "").to_owned();
    let one = |s: &Step| {
        let tag = s.tag.trim_end_matches(".1");
        format!("{tag}/{}={}", file(s.file), s.value.as_deref().unwrap_or("^"))
    };
    steps.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn nobody_takes_what_another_has_or_the_last_there_is() {
    for (own, others, says) in [
        ("a:1-2!", ["b:2-3!"].as_slice(), "cpu.dedicated: CPU 2 is dedicated to zone b already"),
        ("a:0-3!", &[], "cpu.dedicated: would leave nobody else a CPU: zones have 0-3, and 0-3 would be"),
        ("a:0-1!", &["b:2-3!"], "would leave nobody else a CPU: zones have 0-3, and 0-3 would be dedicated"),
        ("a:1-2!", &["c:", "b:1"], "would leave zone b no CPU, which may run on 1 alone"),
        ("a:1!", &["b:1-2", "c:2!"], "would leave zone b no CPU, which may run on 1-2 alone"),
        ("a:1", &["b:1-2!"], "cpu.cpus: none of 1 is left: dedicated are 1 to zone b"),
        ("a:1-2", &["b:1!", "c:2!"], "none of 1-2 is left: dedicated are 1 to zone b, 2 to zone c"),
    ] {
        let said = refused(own, others);
        assert!(said.contains(says), "{own} beside {others:?}: {said}");
    }
    for (own, others) in [
        ("a:1!", ["b:2!", "c:", "d:0-1"].as_slice()),
        ("a:0-1", &["b:1!"]),
        ("a:", &["b:1-3!"]),
        ("a:0-2!", &[]),
    ] {
        assert_eq!(refused(own, others), "", "{own} beside {others:?}");
    }
}

#[test]
fn who_is_no_zone_of_ours_any_more_still_has_what_its_group_has() {
    let left = [("old.7".to_owned(), set("1"))];
    let said = conflict(&asking("a:1!"), &[], &left, &set("0-1")).unwrap_err().to_string();
    assert_eq!(said, "cpu.dedicated: CPU 1 is dedicated to zone old.7 already");
}

#[test]
fn others_go_before_it_comes_and_come_after_it_went() {
    let others = ["b:0-1", "c:", "d:3!"];
    assert_eq!(
        written("a:1!", &others, None),
        "a/partition=member a/exclusive= b/cpus=0 c/cpus= a/cpus=1 /exclusive=1,3 a/exclusive=1 a/partition=root"
    );
    assert_eq!(
        written("a:1", &others, Some("1")),
        "a/partition=member a/exclusive= b/cpus=0-1 c/cpus= a/cpus=1 /exclusive=3"
    );
    assert_eq!(
        written("a:0-1!", &["b:0-2"], Some("1")),
        "a/partition=member a/exclusive= b/cpus=2 a/cpus=0-1 /exclusive=0-1 a/exclusive=0-1 a/partition=root"
    );
    // One that has them keeps them.
    assert_eq!(written("a:1!", &["b:0-1"], Some("1")), "b/cpus=0 a/cpus=1 /exclusive=1");
    // One that is booted beside it gets the rest.
    assert_eq!(written("b:0-1", &["a:1!"], None), "b/cpus=0 /exclusive=1");
    assert_eq!(written("b:", &["a:1!"], None), "b/cpus=^ /exclusive=1");
}

#[test]
fn what_is_given_back_is_everybodys() {
    let others = ["b:0-1", "c:", "d:3!"].map(asking);
    assert_eq!(
        shown(&free("a.1", &others, &held(&others))),
        "a/partition=member a/exclusive= b/cpus=0-1 c/cpus= /exclusive=3"
    );
    assert_eq!(shown(&free("a.1", &[], &[])), "a/partition=member a/exclusive= /exclusive=");
}

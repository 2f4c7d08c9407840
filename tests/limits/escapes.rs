//! What a zone's root may try to get more of a CPU than its shares are worth.

use zone_tests::TestCtx;

use crate::cpu::{Load, converges};

/// Ways: what each is called, and a shell script that never ends.
const WAYS: [(&str, &str); 10] = [
    ("real-time classes", "for c in '-f 99' '-r 1' '-d --sched-runtime 9000000 --sched-deadline 10000000 --sched-period 10000000 0'
        do chrt $c sh -c \"$BUSY\"; done; sh -c \"$BUSY\""),
    ("a low nice value", "nice -n -20 sh -c \"renice -n -20 \\$\\$; $BUSY\""),
    ("an autogroup of its own", "setsid sh -c \"echo -20 > /proc/self/autogroup; $BUSY\""),
    // struct sched_attr of sched_setattr(2): SCHED_OTHER, whose runtime is the slice it asks for (Linux 6.12).
    ("the longest slice", "exec perl -e 'my $a = pack(\"LLQlLQQQ\", 48, 0, 0, 0, 0, 100000000, 0, 0); syscall(314, 0, $a, 0); 1 while 1'"),
    ("the shortest slice", "exec perl -e 'my $a = pack(\"LLQlLQQQ\", 48, 0, 0, 0, 0, 100000, 0, 0); syscall(314, 0, $a, 0); 1 while 1'"),
    ("hundreds of threads", "for i in $(seq 200); do sh -c \"$BUSY\" & done; wait"),
    ("a storm of short-lived processes", "for i in 1 2 3 4; do
        while :; do (i=0; while [ $i -lt 500 ]; do i=$((i+1)); done); done & done; wait"),
    ("sleep before each tick", "for i in 1 2 3; do perl -MTime::HiRes=time,usleep -e '
        while (1) { my $t = time; 1 while time < $t + 0.0035; usleep(50) }' & done; wait"),
    ("groups of its own", "for i in 1 2 3 4 5 6 7 8; do mkdir -p $G/x$i; echo 10000 > $G/x$i/cpu.weight
        sh -c \"echo \\$\\$ > $G/x$i/cgroup.procs; $BUSY\" & done; wait"),
    ("moves between groups", "mkdir -p $G/y1 $G/y2; for i in 1 2 3 4; do sh -c \"$BUSY\" & all=\"$all $!\"; done
        while :; do for g in y1 y2; do for p in $all; do echo $p > $G/$g/cgroup.procs; done; done; done"),
];

/// `b` is entitled to half of a CPU, and `a` has one thread that wants all of it.
fn nothing_helps(ctx: TestCtx) {
    for zone in ["a", "b"] {
        ctx.boot(&format!("zone: {zone}\ncpu: {{ cpus: 1 }}"));
    }
    let meek = Load::start(&ctx, "a", 1);
    for (way, script) in WAYS {
        let script = format!("exec 2>/dev/null; G=/sys/fs/cgroup; BUSY='while :; do :; done'; {script}");
        let _greedy = Load::of(&ctx, "b", &["sh", "-c", &script]);
        converges(way, &ctx, |[a, b]| {
            let part = b / (a + b) * 100.0;
            let text = format!("{part:.2} % of {:.2}", a + b);
            // One that sleeps gets less; one that did not run at all shows nothing.
            if (15.0..51.5).contains(&part) { Ok(text) } else { Err(text) }
        });
    }
    drop(meek);
    ctx.finish();
}

#[test]
fn nothing_buys_a_zone_more_than_its_shares() {
    nothing_helps(TestCtx::new());
}

#[test]
fn nothing_buys_a_zone_more_of_the_scheduler() {
    if std::fs::metadata("/sys/kernel/sched_ext").is_err() {
        println!("skipped: this kernel has no sched_ext");
        return;
    }
    nothing_helps(TestCtx::with(None, &["--cpu-backend", "fss"]));
}

//! A zone's root cannot loosen what limits it.

use zone_tests::TestCtx;

use crate::group_file;

/// Every file by which a limit could be loosened, with what it would be set to.
const LOOSER: &str = "cpu.shares=200000 cpu.weight=9999 cpu.idle=0 cpu.cfs_quota_us=-1 cpu.max=max cpu.rt_runtime_us=500000 \
    cpuset.cpus=0-1 cpuset.cpu_exclusive=0 memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1 memory.max=max \
    memory.high=max memory.swap.max=max memory.oom_control=1 memory.swappiness=100 memory.force_empty=0 \
    cgroup.event_control=x pids.max=max blkio.bfq.weight=1000 io.bfq.weight=1000 io.weight=1000 \
    blkio.throttle.write_bps_device=7:0 blkio.throttle.read_bps_device=254:0 blkio.reset_stats=1 io.max=254:0 \
    cgroup.procs=0 tasks=0 cgroup.clone_children=1 notify_on_release=1 cgroup.kill=1 cgroup.freeze=0 cgroup.type=threaded";

/// Mounts every hierarchy and tries every file and a group of its own in each; prints what it could do. What a zone may
/// move within its own cgroup2 group is delegated to it and loosens nothing.
fn attack(namespaces: &str) -> String {
    format!(
        "cat > /tmp/attack <<'END'
        for c in cpu cpuset memory pids blkio; do
            mkdir -p /tmp/h/$c
            mount -t cgroup -o $c none /tmp/h/$c && echo mounted $c || rmdir /tmp/h/$c
        done 2>/dev/null
        mkdir -p /tmp/h/two; mount -t cgroup2 none /tmp/h/two && echo mounted two
        for h in /tmp/h/* /sys/fs/cgroup; do
            for pair in {LOOSER}; do
                file=$h/${{pair%%=*}}
                case $file in
                    /tmp/h/two/cgroup.procs | /sys/fs/cgroup/cgroup.procs) continue ;;
                esac
                echo tried $file
                (echo ${{pair#*=}} > $file) 2>/dev/null && echo LOOSENED $file
            done
            case $h in */two | /sys/fs/cgroup) ;; *) mkdir $h/x 2>/dev/null && echo LOOSENED $h by a group ;; esac
        done
        true
END
        unshare {namespaces} sh /tmp/attack"
    )
}

#[test]
fn root_of_a_zone_cannot_loosen_its_limits() {
    let ctx = TestCtx::new();
    ctx.boot(
        "zone: a\ncpu: { shares: 3, cap: 0.9, cpus: 0 }\nmemory: { limit: 64M, swap: 0 }\ntasks: { max: 60 }",
    );
    let files = [
        group_file(&ctx, "a", ("cpu", "cpu.shares"), "cpu.weight"),
        group_file(&ctx, "a", ("cpu", "cpu.cfs_quota_us"), "cpu.max"),
        group_file(&ctx, "a", ("cpuset", "cpuset.cpus"), "cpuset.cpus"),
        group_file(&ctx, "a", ("memory", "memory.limit_in_bytes"), "memory.max"),
        group_file(&ctx, "a", ("memory", "memory.memsw.limit_in_bytes"), "memory.swap.max"),
        group_file(&ctx, "a", ("pids", "pids.max"), "pids.max"),
    ];
    let read = || files.each_ref().map(|file| std::fs::read_to_string(file).unwrap());
    let before = read();
    for namespaces in ["--mount", "--mount --cgroup", "--user --map-root-user --mount --cgroup"] {
        let said = ctx.sh("a", &attack(namespaces)).ok();
        let count = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
        println!("{namespaces}: {} hierarchies mounted, {} files tried", count("mounted"), count("tried"));
        assert!(
            count("mounted") > 0 && count("tried") > 20 * count("mounted"),
            "the attack did not work at all: {said}"
        );
        assert!(!said.contains("LOOSENED"), "{namespaces}:\n{said}");
        assert_eq!(read(), before, "{namespaces}");
    }
    // The same hand on the host's side moves it: the files are the right ones.
    std::fs::write(&files[5], "61").unwrap();
    assert_ne!(read(), before);
    // Nor by other ways: a real-time class, another CPU, a task of another group.
    ctx.zonectl(&["exec", "a", "--", "chrt", "-f", "1", "true"]).fails(1, "failed to set");
    ctx.zonectl(&["exec", "a", "--", "taskset", "-c", "1", "true"]).fails(1, "failed to set");
    ctx.finish();
}

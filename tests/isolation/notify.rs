//! What a zone can do with the socket at which its program says that it is up.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use zone_tests::{Outcome, TestCtx, speaker, wait};

/// Words for the attacks below: `say` sends text, `pass` sends text with descriptors, `as` with somebody's number. Sending
/// returns at once where the queue is full.
const WORDS: &str = r#"
use Socket; use strict;
use constant { SENDMSG => NR, DONTWAIT => 0x40 };
my $to = pack_sockaddr_un("/run/host/notify");
sub socket_ { socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!"; setsockopt($s, SOL_SOCKET, SO_SNDBUF, 1 << 20); $s }
my $s = socket_();
sub say_ { defined send($s, $_[0], DONTWAIT, $to) or $! }
sub message { my ($text, $kind, $what) = @_;
    my $iov = pack("P Q", $text, length $text);
    my $control = pack("Q l l", 16 + length $what, 1, $kind) . $what;
    my $message = pack("P L x4 P Q P Q l x4", $to, length $to, $iov, 1, $control, length $control, 0);
    syscall(SENDMSG, fileno $s, $message, DONTWAIT) >= 0 or $! }
sub pass { my ($text, @fds) = @_; message($text, 1, pack "l*", @fds) }
sub as { my ($text, $pid) = @_; message($text, 2, pack "l l l", $pid, $<, $() }
"#;

/// Runs an attack inside a zone, as its root; what it prints.
fn attack(ctx: &TestCtx, zone: &str, script: &str) -> Outcome {
    let number = brands::syscall::number("sendmsg", brands::syscall::HOST[0]).unwrap().to_string();
    let program = format!("{}{script}", WORDS.replace("NR", &number));
    ctx.zonectl(&["exec", zone, "--", "/usr/bin/perl", "-e", &program])
}

/// A zone that has said nothing yet.
fn silent(ctx: &TestCtx) {
    ctx.boot(&speaker("z", json!({})));
}

fn is_online(ctx: &TestCtx) -> bool {
    ctx.info("z")["online_ms"] != Value::Null
}

/// The process that hears the zone.
fn listener(ctx: &TestCtx) -> Option<u64> {
    let monitor = ctx.info("z")["monitor_pid"].to_string();
    let children = fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).unwrap();
    let name = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    children.split_whitespace().find(|pid| name(pid) == "zone-notify\n").map(|pid| pid.parse().unwrap())
}

/// CPU time a process has used, in hundredths of a second (proc_pid_stat(5)).
fn ticks(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn open(pid: u64) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// What a zone's monitor has to do goes on: a command, the console, and at last a halt.
#[track_caller]
fn nobody_is_held_up(ctx: &TestCtx) {
    let began = Instant::now();
    ctx.ok(&["exec", "z", "true"]);
    ctx.ok(&["console", "--log", "z"]);
    ctx.ok(&["pause", "z"]);
    ctx.ok(&["resume", "z"]);
    assert!(began.elapsed() < wait::limit(5), "{:?}", began.elapsed());
}

#[test]
fn nobody_but_the_program_is_believed() {
    let ctx = TestCtx::new();
    silent(&ctx);
    // By its root, by a child of the program's, and by one that has another's number of the zone.
    assert_eq!(
        attack(&ctx, "z", r#"print say_("READY=1"), as("READY=1", $$), as("READY=1", 1)"#).ok(),
        "111"
    );
    // A number that is not of the zone, and another's as somebody who is not root.
    assert!(attack(&ctx, "z", r#"print as("READY=1", 4194303)"#).ok().starts_with("No such process"));
    let refused = attack(
        &ctx,
        "z",
        r#"chmod 0666, "/run/host/notify"; $) = $( = 1000; $< = $> = 1000; print as("READY=1", 2), "; ", say_("READY=1")"#,
    );
    assert_eq!(refused.ok(), "Operation not permitted; 1");
    // Only root may speak at all.
    let refused = attack(
        &ctx,
        "z",
        r#"chmod 0600, "/run/host/notify"; $) = $( = 1000; $< = $> = 1000; print say_("READY=1")"#,
    );
    assert_eq!(refused.ok(), "Permission denied");
    ctx.say("z", "STATUS=behind all of it");
    wait::until("the queue is read", || ctx.info("z")["awaits"].to_string().contains("behind all of it"));
    assert!(!is_online(&ctx), "somebody else was believed");
    // Root of a zone may be whom it likes there: the zone is its own.
    assert_eq!(attack(&ctx, "z", r#"print as("READY=1", 2)"#).ok(), "1");
    wait::until("root is believed as the program", || is_online(&ctx));
    ctx.finish();
}

#[test]
fn what_is_too_large_or_brings_descriptors_leaves_nothing_behind() {
    let ctx = TestCtx::new();
    silent(&ctx);
    let (monitor, listener) = (ctx.info("z")["monitor_pid"].as_u64().unwrap(), listener(&ctx).unwrap());
    let before = (open(monitor), open(listener));
    let script = r#"
        print say_("READY=1\n" . ("x" x 100_000)), "\n";
        pipe(my $read, my $write);
        for my $count (1, 3, 253) { print pass("READY=1", (fileno $write) x $count), "\n"; select undef, undef, undef, 0.05 }
        close $write;
        print "closed\n" if defined sysread $read, my $byte, 1;
    "#;
    assert_eq!(attack(&ctx, "z", script).ok(), "1\n1\n1\n1\nclosed\n");
    assert_eq!((open(monitor), open(listener)), before, "a descriptor of the zone's stays open");
    assert!(!is_online(&ctx));
    ctx.say("z", "READY=1");
    wait::until("its program is heard after all", || is_online(&ctx));
    ctx.finish();
}

/// To let go of a descriptor can take as long as its owner likes: here ten minutes, which the peer of a connection takes to
/// read nothing.
#[test]
fn a_descriptor_that_lingers_holds_up_no_more_than_the_listener() {
    let ctx = TestCtx::new();
    silent(&ctx);
    let script = r#"
        use IO::Handle;
        for (1 .. 20) {
            if (fork) { select undef, undef, undef, 0.1; next }
            socket(my $l, AF_INET, SOCK_STREAM, 0); bind($l, pack_sockaddr_in(0, INADDR_LOOPBACK)); listen($l, 1);
            socket(my $c, AF_INET, SOCK_STREAM, 0); connect($c, getsockname $l); accept(my $a, $l);
            $c->blocking(0); 1 while syswrite $c, "x" x 65536;
            setsockopt($c, SOL_SOCKET, SO_LINGER, pack "l l", 1, 600);
            # Behind some others, so that it is closed here before it is taken there.
            say_("x") for 1 .. 5;
            pass("READY=1", fileno $c);
            close $c;
            sleep 600;
        }
        sleep 600;
    "#;
    std::thread::scope(|scope| {
        let attacking = scope.spawn(|| attack(&ctx, "z", script));
        // It never waits in recvmsg(2) of its own will.
        let receive = brands::syscall::number("recvmsg", brands::syscall::HOST[0]).unwrap().to_string();
        let hangs = |pid| {
            let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
            call.split(' ').next() == Some(receive.as_str())
        };
        let listener = listener(&ctx).unwrap();
        wait::until("the listener hangs", || hangs(listener));
        nobody_is_held_up(&ctx);
        ctx.say("z", "READY=1");
        ctx.zonectl(&["boot", "--wait", "--timeout", "1", "z"]).refuses(1, "not online after 1 s");
        nobody_is_held_up(&ctx);
        assert!(hangs(listener), "it was no attack");
        let began = Instant::now();
        ctx.ok(&["halt", "z"]);
        assert!(began.elapsed() < wait::limit(5), "{:?}", began.elapsed());
        attacking.join().unwrap();
    });
    ctx.finish();
}

#[test]
fn a_flood_is_the_zones_own_to_wait_for() {
    let ctx = TestCtx::new();
    silent(&ctx);
    let flood = r#"
        my $until = time + SECONDS; my ($sent, $full) = (0, 0);
        for (1 .. 3) { fork or last }
        # One alone is stopped by its own buffer where the queue is long (net.unix.max_dgram_qlen).
        my @sockets = map { socket_() } 1 .. 16;
        while (time < $until) { push @sockets, $s = shift @sockets; (say_("STATUS=" . ("x" x 4000) . "\nREADY=1") eq 1) ? $sent++ : $full++ }
        print "$sent $full\n";
    "#;
    let flood = flood.replace("SECONDS", &wait::limit(4).as_secs().to_string());
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| attack(&ctx, "z", &flood));
        let (monitor, listener) = (ctx.info("z")["monitor_pid"].as_u64().unwrap(), listener(&ctx).unwrap());
        let queue = || attack(&ctx, "z", r#"print say_("x")"#).stdout.contains("temporarily unavailable");
        wait::until("the queue is full", queue);
        let (began, used) = (Instant::now(), [ticks(monitor), ticks(listener)]);
        nobody_is_held_up(&ctx);
        std::thread::sleep(Duration::from_secs(1));
        let took = began.elapsed().as_millis() as u64 / 10;
        let [monitor, listener] = [ticks(monitor) - used[0], ticks(listener) - used[1]];
        println!("of {took} hundredths of a second the monitor used {monitor}, the listener {listener}");
        // A listener that read as fast as it could would use a processor of the host's alone.
        assert!(
            monitor < took / 5 && listener < took / 5,
            "of {took}: monitor {monitor}, listener {listener}"
        );
        let told = flooding.join().unwrap().ok();
        println!("sent, and found the queue full: {told}");
        assert!(!is_online(&ctx));
    });
    // And the program's own: its words are told now and then, and the last of them.
    ctx.ok(&["halt", "z"]);
    let chatter = "use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); my $to = pack_sockaddr_un($ENV{NOTIFY_SOCKET}); \
                   send($s, \"STATUS=$_ \" . \"\\e[2J\" x 900, 0, $to) for 1 .. 700; sleep 1000";
    ctx.ok(&["set", "z", &format!("process.command={}", json!(["/usr/bin/perl", "-e", chatter]))]);
    ctx.ok(&["boot", "z"]);
    wait::until("its last word is known", || {
        ctx.info("z")["awaits"].to_string().contains("it said last: 700 ")
    });
    let awaits = ctx.info("z")["awaits"].as_str().unwrap().to_owned();
    assert!(awaits.len() < 1500 && !awaits.contains('\x1b'), "{awaits}");
    nobody_is_held_up(&ctx);
    ctx.finish();
}

#[test]
fn a_socket_of_its_own_in_the_place_deceives_nobody_but_the_zone() {
    let ctx = TestCtx::new();
    silent(&ctx);
    let script = r#"
        unlink "/run/host/notify" or die $!;
        my $own = socket_(); bind $own, $to or die $!;
        print "mine\n"; STDOUT->flush;
        recv $own, my $text, 100, 0; print "$text\n";
    "#;
    std::thread::scope(|scope| {
        let attacking = scope.spawn(|| attack(&ctx, "z", script));
        wait::until("it is another one", || {
            ctx.sh("z", "grep -c /run/host/notify /proc/net/unix").stdout.trim() != "0"
        });
        ctx.say("z", "READY=1");
        assert_eq!(attacking.join().unwrap().ok(), "mine\nREADY=1\n");
    });
    ctx.zonectl(&["boot", "--wait", "--timeout", "1", "z"]).refuses(1, "not online after 1 s");
    // Folder and all may be gone at the next boot, or be something else: /run is made anew.
    ctx.sh(
        "z",
        "rm -r /run/host && ln -s /etc /run/host && umount -l /run; rm -rf /run/host; ln -s /root /run/host",
    )
    .ok();
    for _ in 0..2 {
        ctx.ok(&["reboot", "z"]);
        ctx.say("z", "READY=1");
        ctx.ok(&["boot", "--wait", "z"]);
        ctx.sh("z", "[ -S /run/host/notify ] && [ ! -e /root/notify ] && [ ! -e /etc/notify ]").ok();
    }
    ctx.finish();
}

//! Zones on the network: a web server that is reached through a port of the host, and a zone that lies about its address.
//!
//! What plays the host here, and the outside, are two network namespaces.

use super::{narrator::Narrator, zones::in_zone};
use crate::{
    daemon::{Daemon, end},
    netns::{HOST, Netns, OUTSIDE},
    progress,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    process::Child,
    thread,
    time::{Duration, Instant},
};

/// The port of the host that leads to port 80 of zone sparse.
const FORWARDED: u16 = 8080;
const LIMIT: Duration = Duration::from_secs(10);
const WORD: &str = "hello from zone sparse";

/// Ended after a minute, should the demo be ended.
const SERVE: &str = "mkdir -p /srv/www && cd /srv/www && echo WORD > index.html && \
                     exec timeout 60 python3 -u -m http.server --bind :: 80 > /var/log/web 2>&1";

/// A web server in a zone, asked from the host, from the outside, and from a zone that may not.
pub(crate) fn serve(daemon: &Daemon, narrator: &Narrator) -> Result<()> {
    narrator.say("  in sparse    python3 -m http.server --bind :: 80");
    let _server = Session(in_zone(daemon, "sparse", &SERVE.replace("WORD", WORD)).spawn()?);
    let hosts = daemon.hosts();
    let local = format!("127.0.0.1:{FORWARDED}");
    wait_for(&hosts.host, local.parse()?)?;
    ask("the host", &hosts.host, &local)?;
    ask("the outside", &hosts.outside, &format!("{}:{FORWARDED}", HOST[0]))?;
    ask("the outside", &hosts.outside, &format!("[{}]:{FORWARDED}", HOST[1]))?;
    let seen = daemon.ask(&["exec", "sparse", "--", "cut", "-d ", "-f1", "/var/log/web"])?;
    for outside in OUTSIDE {
        ensure!(seen.contains(outside), "zone sparse did not see that it was {outside}: {seen}");
    }
    narrator.say(&format!("  the server in sparse saw them as {} and {}", OUTSIDE[0], OUTSIDE[1]));
    refused(daemon, narrator)
}

/// One request, shown with its answer and how long that took.
fn ask(who: &str, from: &Netns, at: &str) -> Result<()> {
    let (to, begun) = (at.parse()?, Instant::now());
    let answer = from.within(|| fetch(to))?.with_context(|| format!("{who}: http://{at}/"))?;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let (head, body) = answer.split_once("\r\n\r\n").context("the web server answered no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 ") && body.trim() == WORD, "http://{at}/ answered {answer:?}");
    println!("  {who:<12} {at:<19} 200, {:?}    # {took:.1} ms", body.trim());
    Ok(())
}

fn fetch(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_for(from: &Netns, at: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while let Err(error) = from.within(|| fetch(at))? {
        ensure!(error.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline, "{at}: {error}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Zone debian, which nothing allows to.
fn refused(daemon: &Daemon, narrator: &Narrator) -> Result<()> {
    let to = address(daemon, "sparse")?;
    let begun = Instant::now();
    let dial = in_zone(daemon, "debian", &format!("bash -c 'exec 3<>/dev/tcp/{to}/80'")).output()?;
    let (said, took) = (String::from_utf8_lossy(&dial.stderr), progress::brief(begun.elapsed()));
    ensure!(!dial.status.success() && said.contains("Connection refused"), "debian to sparse: {said}");
    narrator.say(&format!("  {:<12} {:<19} refused    # {took}", "debian", format!("{to}:80")));
    Ok(())
}

/// `python3 - FROM TO WORD`: an IPv4 datagram that says it comes from FROM.
const FORGE: &str = r#"
import socket, struct, sys
source, target, word = (sys.argv[1], sys.argv[2], sys.argv[3].encode())
udp = struct.pack("!4H", PORT, PORT, 8 + len(word), 0) + word
ip = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 17, 0) + socket.inet_aton(source) + socket.inet_aton(target)
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).sendto(ip + udp, (target, 0))
"#;
const PORT: u16 = 4242;
/// How long a datagram may be under way.
const NEVER: Duration = Duration::from_millis(300);

/// Zone sparse sends the same datagram under its own address, and under that of zone debian.
pub(crate) fn spoof(daemon: &Daemon, narrator: &Narrator) -> Result<()> {
    let outside = daemon.hosts().outside.within(|| UdpSocket::bind((OUTSIDE[0], PORT)))??;
    outside.set_read_timeout(Some(NEVER))?;
    let heard = |word: &str| -> Result<Option<SocketAddr>> {
        let mut datagram = [0; 64];
        match outside.recv_from(&mut datagram) {
            Ok((length, from)) if &datagram[..length] == word.as_bytes() => Ok(Some(from)),
            Ok((length, from)) => bail!("{from} sent {:?}", String::from_utf8_lossy(&datagram[..length])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let (own, other) = (address(daemon, "sparse")?, address(daemon, "debian")?);
    forge(daemon, &own, "honest")?;
    let from = heard("honest")?.context("a datagram of zone sparse's own did not arrive outside")?;
    narrator.say(&format!("  as sparse, {own:<12} arrives outside, from {}", from.ip()));
    let before = dropped(daemon)?;
    forge(daemon, &other, "forged")?;
    ensure!(heard("forged")?.is_none(), "a datagram under {other} arrived outside");
    let now = dropped(daemon)?;
    ensure!(now == before + 1, "{before} packets under a wrong address were counted before, now {now}");
    narrator.say(&format!("  as debian, {other:<12} is dropped"));
    narrator.say(&format!("$ zonectl stat sparse --json    # net.dropped: address: {now}"));
    Ok(())
}

fn forge(daemon: &Daemon, source: &str, word: &str) -> Result<()> {
    let script = FORGE.replace("PORT", &PORT.to_string());
    let python = ["exec", "-n", "sparse", "--", "python3", "-c", &script, source, OUTSIDE[0], word];
    daemon.ask(&python).map(drop)
}

/// How many packets of zone sparse were dropped for an address that is not its own.
fn dropped(daemon: &Daemon) -> Result<u64> {
    let stat = daemon.json(&["stat", "sparse"])?;
    let net = &stat["stats"][0]["net"];
    ensure!(net.is_object(), "zonectl stat --json has no network figures: {stat}");
    Ok(net["dropped"]["address"].as_u64().unwrap_or(0))
}

/// A zone's IPv4 address.
fn address(daemon: &Daemon, zone: &str) -> Result<String> {
    let info = daemon.json(&["info", zone])?;
    let address = info["network"][0]["addresses"][0].as_str().and_then(|text| text.split('/').next());
    Ok(address.with_context(|| format!("zone {zone} has no address in {info}"))?.to_owned())
}

/// A session in a zone; it is ended when this is dropped.
struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

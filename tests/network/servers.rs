//! Debian's nginx and PostgreSQL under load, from wherever it may come; and nothing from where it may not.
//!
//! Both zones run both servers, so that what is denied is denied by the rules and not for want of a listener.

use std::{
    cell::Cell,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use zone_tests::{
    Netns, Outcome,
    wait::{self, patiently},
};

use crate::{
    image::{self, BENCH},
    scene::Scene,
};

/// Requests of one load on nginx, by so many connections.
const REQUESTS: usize = 3000;
const CONNECTIONS: usize = 16;

/// Transactions of one load on PostgreSQL, by so many clients.
const TRANSACTIONS: usize = 500;
const CLIENTS: usize = 4;

/// Longest a load may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Longest until a connection that is denied says so: far below what a dropped packet takes.
const AT_ONCE: Duration = Duration::from_millis(900);

/// Where the programs of PostgreSQL are.
const BIN: &str = "/usr/lib/postgresql/15/bin";

/// From where a load comes.
enum From<'a> {
    /// A namespace: a program of the servers' image, in the image's root, with no right to change it.
    Namespace(&'a Netns),
    Zone(&'a str),
}

struct Servers {
    scene: Scene,
    /// The image's root, as the daemon unpacked it.
    root: PathBuf,
    /// Transactions that PostgreSQL was asked for and must know of.
    asked: Cell<usize>,
}

impl Servers {
    fn boot() -> Self {
        let image = image::archive();
        let scene = Scene::new(&["--uplink", "up0"]);
        for (zone, net) in [
            ("web", "allow: [{ to: db, port: 5432 }], forward: [{ listen: 8080, to: 80 }]"),
            ("db", "allow: [{ to: web, port: 80 }], forward: [{ listen: 5432 }]"),
        ] {
            let root = image.display();
            scene.ctx.boot(&format!("zone: {zone}\nroot: {{ image: 'tar:{root}' }}\nnet: [{{ {net} }}]"));
        }
        let layers = scene.ctx.dir.join("lib/layers").read_dir().unwrap().flatten();
        let root = layers.map(|layer| layer.path().join("fs")).find(|root| root.is_dir()).unwrap();
        Self { scene, root, asked: Cell::new(0) }
    }

    /// Does something in the namespace it comes from.
    fn within<T: Send>(&self, from: &From, work: impl FnOnce() -> T + Send) -> T {
        match from {
            From::Namespace(netns) => netns.within(work),
            From::Zone(zone) => self.scene.zone(zone).within(work),
        }
    }

    fn run(&self, from: &From, program: &[&str]) -> Outcome {
        match from {
            From::Namespace(netns) => {
                let mut command = Command::new("chroot");
                command.arg("--userspec=nobody:nogroup").arg(&self.root).args(program);
                netns.run(command)
            }
            From::Zone(zone) => self.scene.ctx.zonectl(&[&["exec", "-T", zone, "--"], program].concat()),
        }
    }

    /// Has nginx of a zone serve its page thousands of times, whole and by the zone that was meant.
    #[track_caller]
    fn load_nginx(&self, from: &From, at: SocketAddr, zone: &str) {
        let page = image::page();
        let answer = self.within(from, || fetch(at));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nX-Zone: {zone}")) && body == page, "{at}: {answer}");
        let (requests, connections) = (format!("-n{REQUESTS}"), format!("-c{CONNECTIONS}"));
        let (limit, url) = (patiently(LIMIT).as_secs().to_string(), format!("http://{at}/page"));
        let said = self.run(from, &["timeout", &limit, "ab", "-q", "-k", &requests, &connections, &url]).ok();
        let figure = |what: &str| said.lines().find_map(|line| line.strip_prefix(what)).map(str::trim);
        assert_eq!(figure("Complete requests:"), Some(REQUESTS.to_string().as_str()), "{at}: {said}");
        // A failed one is one of another length, too.
        assert_eq!(figure("Failed requests:"), Some("0"), "{at}: {said}");
        assert_eq!(figure("Non-2xx responses:"), None, "{at}: {said}");
        assert_eq!(figure("Document Length:"), Some(format!("{} bytes", page.len()).as_str()), "{at}");
    }

    /// Has PostgreSQL move money some hundred times, and looks whether all of it is there.
    #[track_caller]
    fn load_postgresql(&self, from: &From, at: SocketAddr) {
        let (each, clients) = (format!("-t{}", TRANSACTIONS / CLIENTS), format!("-c{CLIENTS}"));
        let said = self.client(from, at, &["pgbench", "-n", &clients, &each]).ok();
        let whole = format!("number of transactions actually processed: {TRANSACTIONS}/{TRANSACTIONS}\n");
        assert!(said.contains(&whole) && said.contains("failed transactions: 0 "), "{at}: {said}");
        self.asked.set(self.asked.get() + TRANSACTIONS);
        let sums = "select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts), \
                    sum(delta) = (select sum(bbalance) from pgbench_branches) from pgbench_history";
        let found = self.client(from, at, &["psql", "-Atc", sums]).ok();
        assert_eq!(found.trim(), format!("{}|t|t", self.asked.get()), "{at}");
    }

    /// Runs a client of the database at this address.
    fn client(&self, from: &From, at: SocketAddr, program: &[&str]) -> Outcome {
        let (host, port) = (format!("PGHOST={}", at.ip()), format!("PGPORT={}", at.port()));
        let who = ["PGUSER", "PGPASSWORD", "PGDATABASE"].map(|name| format!("{name}={BENCH}"));
        let (path, limit) = (format!("PATH={BIN}:/usr/bin"), patiently(LIMIT).as_secs().to_string());
        let mut line = vec!["env", &path, &host, &port];
        line.extend(who.iter().map(String::as_str));
        line.extend(["timeout", &limit]);
        self.run(from, &[&line, program].concat())
    }

    /// Waits until both servers of a zone answer the host.
    #[track_caller]
    fn wait(&self, zone: &str) {
        let (host, ip) = (self.scene.host(), self.scene.addresses(zone)[0]);
        wait::until(&format!("nginx of {zone} answers"), || {
            host.within(|| TcpStream::connect_timeout(&(ip, 80).into(), AT_ONCE)).is_ok()
        });
        wait::until(&format!("PostgreSQL of {zone} answers"), || {
            self.client(&From::Namespace(host), (ip, 5432).into(), &["psql", "-c", "select 1"]).code == 0
        });
    }

    /// A connection from a zone is refused at once, and a program in the zone is told so.
    #[track_caller]
    fn denies(&self, zone: &str, at: SocketAddr) {
        let begun = Instant::now();
        let answer = self.scene.zone(zone).within(|| TcpStream::connect_timeout(&at, patiently(LIMIT)));
        let (kind, took) = (answer.map_err(|e| e.kind()).map(drop), begun.elapsed());
        assert_eq!(kind, Err(ErrorKind::ConnectionRefused), "{zone} to {at}");
        assert!(took < AT_ONCE, "{zone} to {at}: told after {took:?}");
        self.client(&From::Zone(zone), at, &["psql", "-c", "select 1"]).fails(2, "Connection refused");
    }
}

/// What nginx answers.
fn fetch(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&at, patiently(LIMIT)).unwrap();
    stream.set_read_timeout(Some(patiently(LIMIT))).unwrap();
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn nginx_and_postgresql_serve_whom_they_may() {
    let servers = Servers::boot();
    let (web, db) = (servers.scene.addresses("web"), servers.scene.addresses("db"));
    let (host, outside) = (servers.scene.host(), &servers.scene.outside);
    servers.wait("web");
    servers.wait("db");
    let here = From::Namespace(host);
    servers.client(&here, (db[0], 5432).into(), &["pgbench", "-i", "-q"]).ok();
    let all = |ips: [IpAddr; 2], port| ips.map(|ip| SocketAddr::new(ip, port));

    // The host, and the other zone as far as it may.
    for (nginx, postgresql) in all(web, 80).into_iter().zip(all(db, 5432)) {
        servers.load_nginx(&here, nginx, "web");
        servers.load_nginx(&From::Zone("db"), nginx, "web");
        servers.load_postgresql(&here, postgresql);
        servers.load_postgresql(&From::Zone("web"), postgresql);
    }
    // Forwarded ports, from the host itself and from the outside.
    let uplink: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let local = (here, IpAddr::from([127, 0, 0, 1]));
    for (from, ip) in std::iter::once(local).chain(uplink.map(|ip| (From::Namespace(outside), ip))) {
        servers.load_nginx(&from, (ip, 8080).into(), "web");
        servers.load_postgresql(&from, (ip, 5432).into());
    }
    // What listens and was not allowed.
    for at in all(db, 80).into_iter().chain(all(web, 5432)) {
        servers.denies(if db.contains(&at.ip()) { "web" } else { "db" }, at);
    }

    // Taken away, it holds from the next boot on, and for nobody else.
    let ctx = &servers.scene.ctx;
    ctx.ok(&["set", "web", "net=[{ forward: [{ listen: 8080, to: 80 }] }]"]);
    ctx.ok(&["reboot", "web"]);
    servers.wait("web");
    all(db, 5432).into_iter().for_each(|at| servers.denies("web", at));
    servers.load_postgresql(&From::Namespace(host), (db[0], 5432).into());
    servers.load_nginx(&From::Zone("db"), (web[1], 80).into(), "web");
    servers.load_nginx(&From::Namespace(outside), (uplink[0], 8080).into(), "web");
    servers.scene.ctx.finish();
}

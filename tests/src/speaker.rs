//! A zone whose program says by sd_notify(3) what a test has it say, and when.

use serde_json::{Value, json};

use crate::TestCtx;

/// Says what it finds in a file, then takes the file away. What it does not come to goes with the boot.
const PROGRAM: &str = r#"
use Socket;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die;
my $to = pack_sockaddr_un($ENV{NOTIFY_SOCKET});
while (1) {
    if (open my $file, "<", "/tmp/say") {
        my $text = do { local $/; <$file> };
        send($s, $text, 0, $to);
        unlink "/tmp/say";
    }
    select undef, undef, undef, 0.01;
}
"#;

/// The configuration of such a zone, and of more keys.
pub fn speaker(zone: &str, more: Value) -> String {
    let mut config = json!({
        "zone": zone,
        "online": { "notify": true },
        "process": { "command": ["/usr/bin/perl", "-e", PROGRAM] },
    });
    let keys = more.as_object().cloned().unwrap_or_default();
    if let Some(config) = config.as_object_mut() {
        config.extend(keys);
    }
    config.to_string()
}

impl TestCtx {
    /// Has a [`speaker`] say something, and waits until it has.
    #[track_caller]
    pub fn say(&self, zone: &str, text: &str) {
        let script = "printf '%b' \"$0\" > /tmp/words && mv /tmp/words /tmp/say \
                      && while [ -e /tmp/say ]; do sleep 0.01; done";
        self.ok(&["exec", zone, "--", "/bin/sh", "-c", script, text]);
    }
}

//! The escape at the start of a line, as of zlogin(1) and ssh(1): `~.` detaches, `~~` is one `~`.

/// What becomes of typed bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Typed {
    /// To be sent on.
    pub(crate) bytes: Vec<u8>,
    /// `~.` was typed; nothing after it counts.
    pub(crate) detach: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    AfterTilde,
    Within,
}

/// Watches what is typed.
#[derive(Debug)]
pub(crate) struct Keys {
    place: Place,
}

impl Keys {
    /// At the start of a line.
    pub(crate) fn new() -> Self {
        Self { place: Place::LineStart }
    }

    /// Takes bytes as they were typed. A `~` at the start of a line is held back until the next byte tells.
    pub(crate) fn pass(&mut self, input: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for &byte in input {
            match (self.place, byte) {
                (Place::LineStart, b'~') => {
                    self.place = Place::AfterTilde;
                    continue;
                }
                (Place::AfterTilde, b'.') => {
                    typed.detach = true;
                    return typed;
                }
                (Place::AfterTilde, b'~') => {}
                (Place::AfterTilde, _) => typed.bytes.push(b'~'),
                _ => {}
            }
            typed.bytes.push(byte);
            // In raw mode Enter is a carriage return.
            self.place = if matches!(byte, b'\r' | b'\n') { Place::LineStart } else { Place::Within };
        }
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(parts: &[&str]) -> (String, bool) {
        let mut keys = Keys::new();
        let mut all = (String::new(), false);
        for part in parts {
            let typed = keys.pass(part.as_bytes());
            all = (all.0 + &String::from_utf8(typed.bytes).unwrap(), typed.detach);
        }
        all
    }

    #[test]
    fn only_at_the_start_of_a_line() {
        assert_eq!(typed(&["~."]), (String::new(), true));
        assert_eq!(typed(&["ls\r~.rest"]), ("ls\r".into(), true));
        assert_eq!(typed(&["cd x~.\r"]), ("cd x~.\r".into(), false));
        assert_eq!(typed(&["ls\r", "~", "."]), ("ls\r".into(), true));
    }

    #[test]
    fn anything_else_goes_through() {
        assert_eq!(typed(&["~~."]), ("~.".into(), false));
        assert_eq!(typed(&["~/bin\r~x"]), ("~/bin\r~x".into(), false));
        assert_eq!(typed(&["~\r~."]), ("~\r".into(), true));
    }
}

//! From an error's chain of causes to what a person reads.

use std::error::Error;

use zoned_api::ApiError;

/// An error with all its causes, in one line: `object: what: why`. The system's are in words, without a number.
pub fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    in_words(&text)
}

/// A text without Rust's "(os error N)".
fn in_words(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => words.push_str(rest),
            _ => words.extend([" (os error ", part]),
        }
    }
    words
}

/// A step that failed, for a client.
pub fn failed(error: &(dyn Error + 'static)) -> ApiError {
    ApiError::failed(whole(error), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_errors_are_told_in_words() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(whole(&error), "No such file or directory");
        let text = "a: gone (os error 2): b: full (os error 28), so; c (os error x)";
        assert_eq!(in_words(text), "a: gone: b: full, so; c (os error x)");
    }
}

//! From an error's chain of causes to what a person reads.

use std::error::Error;

use zoned_api::ApiError;

/// An error with all its causes, in one line: `object: what: why`.
pub fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A step that failed, for a client.
pub fn failed(error: &(dyn Error + 'static)) -> ApiError {
    ApiError::failed(whole(error), None)
}

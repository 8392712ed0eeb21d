//! Percent-encoding as AWS defines it: everything but RFC 3986's unreserved characters.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The same with slashes kept, for paths.
pub(crate) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, RESERVED_IN_PATH).to_string()
}

/// Decodes one side of a pair of a form or query string; `None` where it is not UTF-8.
pub(crate) fn decode_form(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Decodes without form encoding's rule for `+`, as in the URLs that SigV4 signs.
pub(crate) fn decode(text: &str) -> Option<String> {
    percent_decode(text.as_bytes()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

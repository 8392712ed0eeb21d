//! ALB's patterns: `*` is any number of characters, `?` exactly one.

use pileus_core::filter::glob;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Lower-case where case does not count.
    text: Vec<u8>,
    fold: bool,
    literal: bool,
}

impl Pattern {
    pub(crate) fn sensitive(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec(), false)
    }

    pub(crate) fn insensitive(text: &str) -> Self {
        Self::new(text.to_ascii_lowercase().into_bytes(), true)
    }

    fn new(text: Vec<u8>, fold: bool) -> Self {
        let literal = !text.iter().any(|byte| matches!(byte, b'*' | b'?'));
        Self { text, fold, literal }
    }

    pub(crate) fn matches(&self, subject: &[u8]) -> bool {
        if self.literal {
            return if self.fold { self.text.eq_ignore_ascii_case(subject) } else { self.text == subject };
        }
        self.matches_wild(subject)
    }

    fn matches_wild(&self, subject: &[u8]) -> bool {
        let fold = |byte: u8| if self.fold { byte.to_ascii_lowercase() } else { byte };
        glob(&self.text, subject, |&byte| byte == b'*', |&byte, &found| byte == b'?' || byte == fold(found))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matches_as_albs_examples() {
        for (pattern, subject, expected) in [
            ("/img/*", "/img/picture.jpg", true),
            ("/img/*", "/img/", true),
            ("/img/*", "/img", false),
            ("/img/*/pics", "/img/a/b/pics", true),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("*", "", true),
            ("", "", true),
            ("?", "", false),
            ("*.b*.c", "a.b.b.c", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(
                Pattern::sensitive(pattern).matches(subject.as_bytes()),
                expected,
                "{pattern} {subject}"
            );
        }
        assert!(Pattern::insensitive("*.Example.com").matches(b"WWW.example.COM"));
        assert!(!Pattern::sensitive("/Img/*").matches(b"/img/a"));
    }

    /// The obvious definition, exponential.
    fn reference(pattern: &[u8], subject: &[u8]) -> bool {
        match pattern.split_first() {
            None => subject.is_empty(),
            Some((b'*', rest)) => (0..=subject.len()).any(|skip| reference(rest, &subject[skip..])),
            Some((byte, rest)) => subject
                .split_first()
                .is_some_and(|(first, tail)| (*byte == b'?' || byte == first) && reference(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}", subject in "[ab]{0,10}") {
            prop_assert_eq!(
                Pattern::sensitive(&pattern).matches(subject.as_bytes()),
                reference(pattern.as_bytes(), subject.as_bytes())
            );
        }
    }
}

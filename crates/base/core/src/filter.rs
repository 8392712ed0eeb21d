//! EC2's `Filters`: a resource passes when, for each filter, one of its values matches one of the filter's.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>

/// Whether `text` matches `pattern`, in which `*` stands for any characters and `?` for one.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    glob(&pattern, &text, |&p| p == '*', |&p, &c| p == '?' || p == c)
}

/// The matching of every pattern language with a star: `any` tells which elements stand for any number of others,
/// `one` whether an element of the pattern stands for this one of the text.
///
/// Goes back only to the last star: linear in practice, the product of the lengths at worst, never exponential.
pub fn glob<P, T>(pattern: &[P], text: &[T], any: impl Fn(&P) -> bool, one: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to resume after the latest star: its position and how much text it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(element) if any(element) => {
                star = Some((p, t));
                p += 1;
            }
            Some(element) if one(element, &text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else { return false };
                star = Some((star_p, star_t + 1));
                p = star_p + 1;
                t = star_t + 1;
            }
        }
    }
    pattern[p..].iter().all(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("web-*", "web-1", true),
            ("web-?", "web-12", false),
            ("*b*d", "abcbd", true),
            ("", "a", false),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} on {text}");
        }
    }
}

//! Names: from the model's camel case to Rust's, and the nearest name for a mistyped one.

/// `AmazonProvidedIpv6CidrBlock` to `amazon_provided_ipv6_cidr_block`.
pub(crate) fn snake(name: &str) -> String {
    let name = ["IPv6", "IPv4", "GiB", "MiB", "ARNs", "IDs", "CIDRs", "URLs"]
        .iter()
        .fold(name.to_owned(), |name, word| name.replace(word, &title(word)));
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (index, c) in chars.iter().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            let after_lower =
                chars.get(index - 1).is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            let before_lower = chars.get(index + 1).is_some_and(char::is_ascii_lowercase);
            let after_upper = chars.get(index - 1).is_some_and(char::is_ascii_uppercase);
            if after_lower || (after_upper && before_lower) {
                out.push('_');
            }
        }
        out.push(if *c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    out
}

/// `IPv6` to `Ipv6`.
fn title(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    format!("{first}{}", rest.to_ascii_lowercase())
}

/// A struct field: snake case, with Rust's keywords escaped.
pub(crate) fn field(name: &str) -> String {
    let name = snake(name);
    let keywords = ["as", "box", "const", "enum", "fn", "for", "if", "impl", "in", "loop", "match", "mod"];
    let more = ["move", "mut", "pub", "ref", "return", "static", "struct", "trait", "type", "use", "where"];
    if keywords.contains(&name.as_str()) || more.contains(&name.as_str()) {
        format!("r#{name}")
    } else {
        name
    }
}

/// The name of a static.
pub(crate) fn constant(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// The module of a service: `application-autoscaling` to `application_autoscaling`.
pub(crate) fn module(service: &str) -> String {
    service.replace('-', "_")
}

/// `vpcId` to `VpcId`.
pub(crate) fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// ` (did you mean X?)` for the nearest candidate, or nothing.
pub(crate) fn suggestion<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let nearest = candidates.map(|name| (distance(wrong, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= wrong.len() / 3 + 1 => format!(" (did you mean {name}?)"),
        _ => String::new(),
    }
}

/// Levenshtein's distance, case ignored.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        let mut next = vec![previous];
        for (r, above) in right.iter().zip(row.iter().skip(1)) {
            previous = (diagonal + usize::from(l != *r)).min(above + 1).min(previous + 1);
            diagonal = *above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_well_in_rust() {
        assert_eq!(snake("AmazonProvidedIpv6CidrBlock"), "amazon_provided_ipv6_cidr_block");
        assert_eq!(snake("PrivateIPv4Address"), "private_ipv4_address");
        assert_eq!(snake("enableECSManagedTags"), "enable_ecs_managed_tags");
        assert_eq!(snake("sizeInGiB"), "size_in_gib");
        assert_eq!(snake("EnableDns64"), "enable_dns64");
        assert_eq!(field("type"), "r#type");
        assert_eq!(constant("VpcIdStringList"), "VPC_ID_STRING_LIST");
    }

    #[test]
    fn a_mistyped_name_gets_the_nearest() {
        let names = ["CreateVpc", "DeleteVpc", "CreateSubnet"];
        assert_eq!(suggestion("CreateVPCs", names.into_iter()), " (did you mean CreateVpc?)");
        assert_eq!(suggestion("Frobnicate", names.into_iter()), "");
    }
}

//! What a rule does: forward to a group chosen by weight, redirect, or answer by itself.

use pileus_contract::proxy::RuleAction;

use crate::http1::trace::Random;

#[derive(Debug)]
pub(crate) enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Fixed(Fixed),
}

/// Groups by index in the snapshot; `None` for an id that the specification does not have.
#[derive(Debug)]
pub(crate) struct Forward {
    groups: Vec<(Option<usize>, u32)>,
    total: u64,
}

#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) status: u16,
    protocol: String,
    host: String,
    port: String,
    path: String,
    query: String,
}

/// What the placeholders of a redirect stand for.
pub(crate) struct RedirectFacts<'a> {
    /// Without a port.
    pub(crate) host: &'a str,
    /// By which the client reached the balancer.
    pub(crate) port: u16,
    /// `http` or `https`.
    pub(crate) protocol: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

impl Action {
    /// `group` finds a target group's index by its id.
    pub(crate) fn new(action: &RuleAction, group: impl Fn(&str) -> Option<usize>) -> Self {
        match action {
            RuleAction::Forward(groups) => {
                Self::Forward(Forward::new(groups.iter().map(|(id, weight)| (group(id), *weight)).collect()))
            }
            RuleAction::Redirect { status, protocol, host, port, path, query } => Self::Redirect(Redirect {
                status: *status,
                protocol: protocol.clone(),
                host: host.clone(),
                port: port.clone(),
                path: path.clone(),
                query: query.clone(),
            }),
            RuleAction::FixedResponse { status, content_type, body } => Self::Fixed(Fixed {
                status: *status,
                content_type: fixed_type(content_type),
                body: body.clone().into_bytes(),
            }),
        }
    }
}

/// ALB adds the charset to the textual types.
fn fixed_type(content_type: &str) -> String {
    if content_type.starts_with("text/") && !content_type.contains(';') {
        format!("{content_type}; charset=utf-8")
    } else {
        content_type.to_owned()
    }
}

impl Forward {
    fn new(groups: Vec<(Option<usize>, u32)>) -> Self {
        let total = groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
        Self { groups, total }
    }

    /// By weight, whatever the groups' health: as ALB, there is no failover from group to group. `None`: no group,
    /// or all have weight 0.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<usize> {
        if let [(group, weight)] = self.groups[..] {
            return group.filter(|_| weight > 0);
        }
        if self.total == 0 {
            return None;
        }
        let mut point = random.below(self.total);
        for (group, weight) in &self.groups {
            match point.checked_sub(u64::from(*weight)) {
                Some(rest) => point = rest,
                None => return *group,
            }
        }
        None
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().filter_map(|(group, _)| *group)
    }
}

impl Redirect {
    /// The `Location`: always with the port, as ALB writes it.
    pub(crate) fn location(&self, facts: &RedirectFacts<'_>) -> String {
        let fill = |template: &str| {
            template
                .replace("#{protocol}", facts.protocol)
                .replace("#{host}", facts.host)
                .replace("#{port}", &facts.port.to_string())
                .replace("#{path}", facts.path.trim_start_matches('/'))
                .replace("#{query}", facts.query)
        };
        let query = fill(&self.query);
        let mark = if query.is_empty() { "" } else { "?" };
        let path = fill(&self.path);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let protocol = fill(&self.protocol).to_ascii_lowercase();
        format!("{protocol}://{}:{}{slash}{path}{mark}{query}", fill(&self.host), fill(&self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(protocol: &str, host: &str, port: &str, path: &str, query: &str) -> String {
        let redirect = Redirect {
            status: 301,
            protocol: protocol.into(),
            host: host.into(),
            port: port.into(),
            path: path.into(),
            query: query.into(),
        };
        redirect.location(&RedirectFacts {
            host: "web.example",
            port: 80,
            protocol: "http",
            path: "/a/b",
            query: "c=d",
        })
    }

    #[test]
    fn redirects_fill_their_placeholders() {
        assert_eq!(
            location("HTTPS", "#{host}", "443", "/#{path}", "#{query}"),
            "https://web.example:443/a/b?c=d"
        );
        assert_eq!(
            location("#{protocol}", "new.#{host}", "#{port}", "/x/#{path}", ""),
            "http://new.web.example:80/x/a/b"
        );
    }

    #[test]
    fn forwards_by_weight() {
        let mut random = Random::new();
        let forward = Forward::new(vec![(Some(0), 3), (Some(1), 1), (Some(2), 0)]);
        let mut counts = [0; 3];
        for _ in 0..4000 {
            counts[forward.pick(&mut random).expect("weights are not all 0")] += 1;
        }
        assert!((2700..3300).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
        assert_eq!(Forward::new(vec![(Some(0), 0)]).pick(&mut random), None);
        assert_eq!(Forward::new(vec![(None, 1)]).pick(&mut random), None);
    }
}

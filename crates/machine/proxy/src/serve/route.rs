//! From a parsed head to the action: which load balancer, which node, which rule, which target.

use std::rc::Rc;
use std::sync::Arc;

use pileus_contract::proxy::{EdgeRule, LoadBalancerAttributes};

use super::stream::{Reader, Writer};
use super::{Connection, Next, Place};
use crate::daemon::snapshot::{Entry, LoadBalancer, Node};
use crate::http1::error_page::Answer;
use crate::http1::forward::without_port;
use crate::route::{self, Action, Facts, Forward, Redirect, RedirectFacts};
use crate::stats::{Metric, Row};
use crate::worker::Door;
use crate::worker::scratch::Scratch;
use crate::worker::view::{TargetView, View};

/// Where a request goes.
pub(super) struct Way {
    pub(super) node: Arc<Node>,
    pub(super) target: Rc<TargetView>,
    pub(super) row: Rc<Row>,
    pub(super) group_row: Rc<Row>,
}

impl<R: Reader, W: Writer> Connection<R, W> {
    /// Finds the way of the request in `scratch.head` and goes it.
    pub(super) async fn respond(&mut self, scratch: &mut Scratch) -> Next {
        scratch.to_head = scratch.head.is_head(scratch.input.filled());
        let view = self.worker.view();
        let Some(entry) = self.find_entry(&view, scratch) else {
            return self.answer_unknown(&view, scratch).await;
        };
        let lb = view.load_balancer(entry);
        if !self.admits(lb) {
            return Next::Close;
        }
        self.idle.set_limit(lb.attributes.idle_timeout);
        self.find_place(&view, entry);
        let listener = &lb.listeners[entry.listener];
        if listener.tls.is_some() && self.tls.is_none() {
            let note = "The plain HTTP request was sent to HTTPS port";
            return self.answer_page(scratch, 400, Some(note), false).await;
        }
        let facts = Facts { buffer: scratch.input.filled(), head: &scratch.head, client: self.peer.address };
        let (action, evaluated) = route::evaluate(&listener.rules, &facts);
        self.row(&view).add(Metric::RuleEvaluations, evaluated);
        let keep = self.may_keep(scratch, &lb.attributes);
        let answer = match action {
            Some(Action::Forward(forward)) => {
                if let Some(way) = self.find_way(&view, entry, forward) {
                    self.write_request(scratch, &lb.attributes);
                    // From here on the request may take long: it must not hold the configuration.
                    drop(view);
                    return self.forward(scratch, way, keep).await;
                }
                return self.answer_page(scratch, 503, None, keep).await;
            }
            Some(Action::Redirect(redirect)) => self.redirect(scratch, redirect, &view),
            Some(Action::Fixed(fixed)) => {
                self.row(&view).add(Metric::FixedResponse, 1);
                Answer {
                    status: fixed.status,
                    content_type: &fixed.content_type,
                    location: None,
                    body: fixed.body.as_slice().into(),
                }
            }
            None => return self.answer_page(scratch, 503, None, keep).await,
        };
        self.send(scratch, &answer, keep).await
    }

    fn redirect(&self, scratch: &Scratch, redirect: &Redirect, view: &View) -> Answer<'static> {
        let row = self.row(view);
        row.add(Metric::Redirect, 1);
        row.add(Metric::Elb3xx, 1);
        Answer {
            location: Some(redirect.location(&self.redirect_facts(scratch))),
            ..Answer::page(redirect.status, None)
        }
    }

    fn find_entry(&self, view: &View, scratch: &Scratch) -> Option<Entry> {
        match self.slot.door() {
            Door::Node { node, port } => view.snapshot.nodes.get(&(node, port)).copied(),
            Door::Edge { listener_port, .. } => {
                let host = without_port(scratch.head.host.in_(scratch.input.filled()));
                view.snapshot.edge.get(&listener_port)?.find(host)
            }
        }
    }

    /// What the load balancer's security groups say of a client from outside. A node's own are kept by the network.
    fn admits(&self, lb: &LoadBalancer) -> bool {
        let Door::Edge { listener_port, .. } = self.slot.door() else { return true };
        let allows = |rule: &EdgeRule| {
            rule.source.contains(&self.peer.address)
                && (rule.from_port..=rule.to_port).contains(&listener_port)
        };
        lb.edge_ingress.iter().any(allows)
    }

    /// The node is chosen once for a connection, as a client does that resolved the name.
    fn find_place(&mut self, view: &View, entry: Entry) {
        let generation = self.worker.generation.get();
        let known = self.place.as_ref();
        if known
            .is_some_and(|place| place.generation == generation && place.load_balancer == entry.load_balancer)
        {
            return;
        }
        self.slot.belongs_to(&view.load_balancer(entry).id);
        let node = entry.node.or_else(|| view.choose_node(entry.load_balancer)).unwrap_or(0);
        let row = Rc::clone(view.row(entry.load_balancer, node));
        self.settle(Place { generation, load_balancer: entry.load_balancer, node, row });
    }

    /// Where to count what concerns the load balancer.
    pub(super) fn row(&self, view: &View) -> Rc<Row> {
        match &self.place {
            Some(place) => Rc::clone(&place.row),
            None => view.door_row(self.slot.door()),
        }
    }

    fn find_way(&self, view: &View, entry: Entry, forward: &Forward) -> Option<Way> {
        let place = self.place.as_ref()?;
        let group = forward.pick(&mut self.worker.random.borrow_mut())?;
        let target = view.choose_target(group)?;
        let node = view.load_balancer(entry).nodes.get(place.node)?;
        let group_row = view.group_row(entry.load_balancer, group, place.node)?;
        Some(Way {
            node: Arc::clone(node),
            target,
            row: Rc::clone(&place.row),
            group_row: Rc::clone(group_row),
        })
    }

    /// Whether another request may follow this one on the client's connection.
    fn may_keep(&self, scratch: &Scratch, attributes: &LoadBalancerAttributes) -> bool {
        scratch.head.keep_alive
            && !scratch.head.ambiguous
            && !self.slot.closing()
            && self.now.duration_since(self.opened) < attributes.client_keep_alive
    }

    fn redirect_facts<'a>(&self, scratch: &'a Scratch) -> RedirectFacts<'a> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap_or("");
        let buffer = scratch.input.filled();
        let port = match self.slot.door() {
            Door::Edge { bound_port, .. } => bound_port,
            Door::Node { port, .. } => port,
        };
        RedirectFacts {
            host: text(without_port(scratch.head.host.in_(buffer))),
            port,
            protocol: if self.tls.is_some() { "https" } else { "http" },
            path: text(scratch.head.path.in_(buffer)),
            query: text(scratch.head.query.in_(buffer)),
        }
    }

    /// No load balancer has this name. AWS has no such case: its names resolve to the load balancer itself.
    async fn answer_unknown(&mut self, view: &View, scratch: &mut Scratch) -> Next {
        let port = self.slot.door().listener_port();
        let edge = view.snapshot.edge.get(&port);
        let names = edge.map(|edge| edge.by_host.keys().map(|name| String::from_utf8_lossy(name)));
        let mut names: Vec<_> = names.into_iter().flatten().collect();
        names.sort();
        let note = format!("No load balancer has this host name. Those on port {port}: {}", names.join(", "));
        self.answer_page(scratch, 404, Some(&note), false).await
    }
}

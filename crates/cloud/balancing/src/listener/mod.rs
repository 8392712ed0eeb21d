//! Listeners: the ports of a load balancer, HTTP and HTTPS.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html>

mod policy;
mod secure;

use pileus_aws::elbv2::{
    CreateListenerInput, CreateListenerOutput, DeleteListenerInput, DeleteListenerOutput,
    DescribeListenerAttributesInput, DescribeListenerAttributesOutput, DescribeListenersInput,
    DescribeListenersOutput, Listener as Shape, ListenerAttribute, ModifyListenerInput, ModifyListenerOutput,
    ops,
};
use pileus_core::{ApiError, Tags};
use pileus_service::{Context, Router};
use pileus_state::{Record, Tx};
use serde::{Deserialize, Serialize};

pub(crate) use self::secure::{MAX_CERTIFICATES, Secure, certificates_of, note_use};
use crate::load_balancer::{self, LoadBalancer};
use crate::resource::{self, Resource, invalid};
use crate::rule::{self, Rule, action};
use crate::tags;

pub(crate) const MAX_PER_LOAD_BALANCER: usize = 50;

/// What AWS shows of a listener whose answers nothing alters.
const ATTRIBUTES: [(&str, &str); 11] = [
    ("routing.http.response.server.enabled", "true"),
    ("routing.http.response.strict_transport_security.header_value", ""),
    ("routing.http.response.access_control_allow_origin.header_value", ""),
    ("routing.http.response.access_control_allow_methods.header_value", ""),
    ("routing.http.response.access_control_allow_headers.header_value", ""),
    ("routing.http.response.access_control_allow_credentials.header_value", ""),
    ("routing.http.response.access_control_expose_headers.header_value", ""),
    ("routing.http.response.access_control_max_age.header_value", ""),
    ("routing.http.response.content_security_policy.header_value", ""),
    ("routing.http.response.x_content_type_options.header_value", ""),
    ("routing.http.response.x_frame_options.header_value", ""),
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listener {
    /// `app/<name>/<load balancer's hex>/<16 hex>`
    pub(crate) key: String,
    pub(crate) port: u16,
    /// Of an HTTPS listener.
    #[serde(default)]
    pub(crate) secure: Option<Secure>,
    pub(crate) tags: Tags,
}

impl Record for Listener {
    const KIND: &'static str = "elbv2/listener";

    fn key(&self) -> String {
        self.key.clone()
    }
}

impl Resource for Listener {
    const PREFIX: &'static str = "listener/";
    const NOUN: &'static str = "listener";
    const NOT_FOUND: &'static str = "ListenerNotFound";

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
}

impl Listener {
    pub(crate) fn load_balancer(&self) -> &str {
        load_balancer(&self.key)
    }

    fn protocol(&self) -> &'static str {
        if self.secure.is_some() { "HTTPS" } else { "HTTP" }
    }
}

/// The key of the load balancer of the listener with this key.
pub(crate) fn load_balancer(listener: &str) -> &str {
    listener.rsplit_once('/').map_or("", |(balancer, _)| balancer)
}

pub(crate) fn operations(router: &mut Router) {
    router
        .on::<ops::CreateListener>(create_listener)
        .on::<ops::DescribeListeners>(describe_listeners)
        .on::<ops::DescribeListenerAttributes>(describe_listener_attributes)
        .on::<ops::ModifyListener>(modify_listener)
        .on::<ops::DeleteListener>(delete_listener);
    policy::operations(router);
    secure::operations(router);
}

/// The listeners of a load balancer.
pub(crate) fn of_load_balancer(tx: &Tx, key: &str) -> Vec<Listener> {
    let listeners = tx.list::<Listener>().into_iter().filter(|listener| listener.load_balancer() == key);
    listeners.map(|listener| Listener::clone(&listener)).collect()
}

/// Deletes a listener and its rules.
pub(crate) fn delete(tx: &mut Tx, listener: &str) {
    for rule in rule::of_listener(tx, listener) {
        tx.delete::<Rule>(&rule.key);
    }
    tx.delete::<Listener>(listener);
}

fn create_listener(cx: &mut Context, input: CreateListenerInput) -> Result<CreateListenerOutput, ApiError> {
    let balancer = resource::find::<LoadBalancer>(cx.tx, &input.load_balancer_arn)?;
    let protocol = input.protocol.ok_or_else(|| invalid("A protocol must be specified"))?;
    let secure = secure::parse(&protocol, input.ssl_policy, input.certificates, None)?;
    let port = input.port.and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| invalid("A port must be specified"))?;
    let chosen = action::parse(cx.tx, &balancer, input.default_actions)?;
    let listeners = of_load_balancer(cx.tx, &balancer.key);
    if let Some(same_port) = listeners.iter().find(|listener| listener.port == port) {
        let same = same_port.secure == secure
            && default_rule(cx.tx, same_port).is_some_and(|rule| rule.chosen == chosen);
        return if same {
            Ok(CreateListenerOutput { listeners: Some(vec![shape(cx.tx, same_port)]) })
        } else {
            Err(duplicate(&balancer.arn(cx.scope())))
        };
    }
    if listeners.len() >= MAX_PER_LOAD_BALANCER {
        let message = format!("A load balancer can have at most {MAX_PER_LOAD_BALANCER} listeners");
        return Err(ApiError::client("TooManyListeners", message));
    }
    let key = format!("{}/{}", balancer.key, cx.ids.hex(16));
    cx.tx.put(Rule::default_of(&key, chosen, cx.ids));
    let listener = Listener { key, port, secure, tags: tags::of_request(input.tags)? };
    let before = certificates_of(cx.tx, &balancer.key);
    cx.tx.put(listener.clone());
    note_use(cx.tx, &balancer.key, &before, cx.now)?;
    Ok(CreateListenerOutput { listeners: Some(vec![shape(cx.tx, &listener)]) })
}

fn duplicate(balancer: &str) -> ApiError {
    let message = format!("A listener already exists on this port for this load balancer '{balancer}'");
    ApiError::client("DuplicateListener", message)
}

fn describe_listeners(
    cx: &mut Context,
    input: DescribeListenersInput,
) -> Result<DescribeListenersOutput, ApiError> {
    let mut listeners = match (&input.load_balancer_arn, &input.listener_arns) {
        (Some(arn), None) => of_load_balancer(cx.tx, &resource::find::<LoadBalancer>(cx.tx, arn)?.key),
        (None, Some(arns)) => arns
            .iter()
            .map(|arn| Ok(Listener::clone(&*resource::find(cx.tx, arn)?)))
            .collect::<Result<_, ApiError>>()?,
        _ => return Err(invalid("You must specify either listener ARNs or a load balancer ARN")),
    };
    listeners.sort_by(|one, other| one.key.cmp(&other.key));
    let (listeners, next_marker) =
        resource::page(listeners, |listener| listener.key.clone(), input.marker.as_deref(), input.page_size)?;
    let listeners = listeners.iter().map(|listener| shape(cx.tx, listener)).collect();
    Ok(DescribeListenersOutput { listeners: Some(listeners), next_marker })
}

fn describe_listener_attributes(
    cx: &mut Context,
    input: DescribeListenerAttributesInput,
) -> Result<DescribeListenerAttributesOutput, ApiError> {
    resource::find::<Listener>(cx.tx, &input.listener_arn)?;
    let attribute = |(key, value): (&str, &str)| ListenerAttribute {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    Ok(DescribeListenerAttributesOutput { attributes: Some(ATTRIBUTES.into_iter().map(attribute).collect()) })
}

fn modify_listener(cx: &mut Context, input: ModifyListenerInput) -> Result<ModifyListenerOutput, ApiError> {
    let mut listener = Listener::clone(&*resource::find(cx.tx, &input.listener_arn)?);
    let balancer = load_balancer::of_key(cx.tx, listener.load_balancer())?;
    let protocol = input.protocol.unwrap_or_else(|| listener.protocol().into());
    listener.secure =
        secure::parse(&protocol, input.ssl_policy, input.certificates, listener.secure.as_ref())?;
    let before = certificates_of(cx.tx, &balancer.key);
    if let Some(port) = input.port.and_then(|port| u16::try_from(port).ok()) {
        let listeners = of_load_balancer(cx.tx, &balancer.key);
        if listeners.iter().any(|other| other.port == port && other.key != listener.key) {
            return Err(duplicate(&balancer.arn(cx.scope())));
        }
        listener.port = port;
    }
    if let Some(actions) = input.default_actions {
        let chosen = action::parse(cx.tx, &balancer, actions)?;
        if let Some(rule) = default_rule(cx.tx, &listener) {
            cx.tx.put(Rule { chosen, ..rule });
        }
    }
    cx.tx.put(listener.clone());
    note_use(cx.tx, &balancer.key, &before, cx.now)?;
    Ok(ModifyListenerOutput { listeners: Some(vec![shape(cx.tx, &listener)]) })
}

fn delete_listener(cx: &mut Context, input: DeleteListenerInput) -> Result<DeleteListenerOutput, ApiError> {
    let listener = resource::find::<Listener>(cx.tx, &input.listener_arn)?;
    let before = certificates_of(cx.tx, listener.load_balancer());
    delete(cx.tx, &listener.key);
    note_use(cx.tx, listener.load_balancer(), &before, cx.now)?;
    Ok(DeleteListenerOutput {})
}

fn default_rule(tx: &Tx, listener: &Listener) -> Option<Rule> {
    rule::of_listener(tx, &listener.key).into_iter().find(|rule| rule.priority.is_none())
}

fn shape(tx: &Tx, listener: &Listener) -> Shape {
    let default = default_rule(tx, listener);
    Shape {
        listener_arn: Some(listener.arn(tx.scope())),
        load_balancer_arn: Some(resource::arn::<LoadBalancer>(tx.scope(), listener.load_balancer())),
        port: Some(listener.port.into()),
        protocol: Some(listener.protocol().into()),
        ssl_policy: listener.secure.as_ref().map(|secure| secure.policy.clone()),
        certificates: listener.secure.as_ref().map(|secure| vec![secure::shape(&secure.default, None)]),
        default_actions: Some(default.iter().map(|rule| action::shape(tx.scope(), &rule.chosen)).collect()),
        ..Shape::default()
    }
}

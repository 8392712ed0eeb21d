//! Decides what is generated: the shapes that the allowed operations reach, and how each member is supported.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};

use super::allow::{OperationAllow, ServiceAllow};
use super::model::{Model, ShapeModel, ShapeRef};
use super::names::suggestion;

/// One service's part of the generated code.
pub(crate) struct Selection {
    pub(crate) name: String,
    pub(crate) validation: String,
    pub(crate) model: Model,
    /// Sorted by name.
    pub(crate) operations: Vec<String>,
    /// Every structure that is generated, by the model's name.
    pub(crate) structures: BTreeMap<String, Vec<Member>>,
    /// Every other shape that is generated.
    pub(crate) shapes: BTreeSet<String>,
    /// Shapes that requests can carry: their constraints are generated, and their required members are plain.
    pub(crate) from_input: BTreeSet<String>,
}

pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) reference: ShapeRef,
    pub(crate) required: bool,
    pub(crate) support: Support,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Support {
    Supported,
    NoEffect(String),
    /// Read by the router: in the schema, not in the struct.
    Router,
    Unsupported,
}

impl Selection {
    pub(crate) fn shape(&self, name: &str) -> anyhow::Result<&ShapeModel> {
        self.model.shapes.get(name).with_context(|| format!("the model has no shape {name}"))
    }

    /// Whether holding the structure `target` by value inside `owner` would make an endless type.
    pub(crate) fn recursive(&self, owner: &str, target: &str) -> bool {
        let mut pending = vec![target.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(name) = pending.pop() {
            if name == owner {
                return true;
            }
            if let Some(members) = self.structures.get(&name).filter(|_| seen.insert(name.clone())) {
                pending.extend(members.iter().map(|member| member.reference.shape.clone()));
            }
        }
        false
    }

    fn input_of(&self, operation: &str) -> Option<&str> {
        self.model.operations.get(operation)?.input.as_ref().map(|input| input.shape.as_str())
    }
}

pub(crate) fn select(name: &str, model: Model, allow: &ServiceAllow) -> anyhow::Result<Selection> {
    let mut selection = Selection {
        name: name.to_owned(),
        validation: allow.service.validation.clone(),
        model,
        operations: allow.operations.keys().cloned().collect(),
        structures: BTreeMap::new(),
        shapes: BTreeSet::new(),
        from_input: BTreeSet::new(),
    };
    check_names(&selection, allow)?;
    let inputs = inputs_by_shape(&selection, allow)?;
    for shape in inputs.keys() {
        reach(&mut selection, allow, &inputs, shape, true)?;
    }
    for operation in selection.operations.clone() {
        let output = selection.model.operations.get(&operation).and_then(|model| model.output.clone());
        if let Some(output) = output {
            reach(&mut selection, allow, &inputs, &output.shape, false)?;
        }
    }
    Ok(selection)
}

type Inputs<'a> = BTreeMap<String, &'a OperationAllow>;

fn inputs_by_shape<'a>(selection: &Selection, allow: &'a ServiceAllow) -> anyhow::Result<Inputs<'a>> {
    let mut inputs = Inputs::new();
    for (operation, allow) in &allow.operations {
        let Some(shape) = selection.input_of(operation) else { continue };
        if inputs.insert(shape.to_owned(), allow).is_some() {
            bail!("{operation} shares its input shape {shape} with another operation: not provided for");
        }
    }
    Ok(inputs)
}

/// Every name in the allow-list must be one of the model.
fn check_names(selection: &Selection, allow: &ServiceAllow) -> anyhow::Result<()> {
    let model = &selection.model;
    for (operation, allow) in &allow.operations {
        if !model.operations.contains_key(operation) {
            let hint = suggestion(operation, model.operations.keys().map(String::as_str));
            bail!("the model has no operation {operation}{hint}");
        }
        let listed = allow.members.iter().flatten().chain(allow.no_effect.keys());
        check_members(selection, operation, selection.input_of(operation), listed)?;
    }
    for (shape, allow) in &allow.shapes {
        if !model.shapes.contains_key(shape) {
            bail!(
                "the model has no shape {shape}{}",
                suggestion(shape, model.shapes.keys().map(String::as_str))
            );
        }
        let listed = allow.unsupported.iter().chain(allow.no_effect.keys());
        check_members(selection, shape, Some(shape.as_str()), listed)?;
    }
    Ok(())
}

fn check_members<'a>(
    selection: &Selection,
    owner: &str,
    shape: Option<&str>,
    listed: impl Iterator<Item = &'a String>,
) -> anyhow::Result<()> {
    let members = match shape {
        Some(shape) => &selection.shape(shape)?.members,
        None => &Vec::new(),
    };
    for name in listed {
        if !members.iter().any(|(member, _)| member == name) {
            let hint = suggestion(name, members.iter().map(|(member, _)| member.as_str()));
            bail!("{owner} has no member {name}{hint}");
        }
    }
    Ok(())
}

/// Adds a shape and all that it reaches.
fn reach(
    selection: &mut Selection,
    allow: &ServiceAllow,
    inputs: &Inputs<'_>,
    name: &str,
    from_input: bool,
) -> anyhow::Result<()> {
    let known = selection.structures.contains_key(name) || selection.shapes.contains(name);
    let news = from_input && selection.from_input.insert(name.to_owned());
    if known && !news {
        return Ok(());
    }
    let shape = selection.shape(name)?;
    let mut next: Vec<String> = Vec::new();
    if shape.kind == "structure" && !shape.document {
        let members = members(name, shape, allow, inputs)?;
        let reached = members.iter().filter(|member| member.support != Support::Unsupported);
        next.extend(reached.map(|member| member.reference.shape.clone()));
        selection.structures.insert(name.to_owned(), members);
    } else {
        let parts = [&shape.member, &shape.key, &shape.value];
        next.extend(parts.into_iter().flatten().map(|reference| reference.shape.clone()));
        selection.shapes.insert(name.to_owned());
    }
    next.iter().try_for_each(|shape| reach(selection, allow, inputs, shape, from_input))
}

fn members(
    name: &str,
    shape: &ShapeModel,
    allow: &ServiceAllow,
    inputs: &Inputs<'_>,
) -> anyhow::Result<Vec<Member>> {
    let mut members = Vec::new();
    for (member, reference) in &shape.members {
        let support = match inputs.get(name) {
            Some(operation) => top_level_support(member, allow, operation),
            None => nested_support(name, member, allow),
        };
        let required = shape.required.contains(member);
        ensure!(
            !required || support != Support::Unsupported,
            "{name}.{member} is required by the model and so cannot be unsupported"
        );
        members.push(Member { name: member.clone(), reference: reference.clone(), required, support });
    }
    Ok(members)
}

fn top_level_support(member: &String, allow: &ServiceAllow, operation: &OperationAllow) -> Support {
    if allow.service.router.contains(member) {
        return Support::Router;
    }
    match (operation.no_effect.get(member), &operation.members) {
        (Some(reason), _) => Support::NoEffect(reason.clone()),
        (None, Some(listed)) if !listed.contains(member) => Support::Unsupported,
        (None, _) => Support::Supported,
    }
}

fn nested_support(shape: &str, member: &String, allow: &ServiceAllow) -> Support {
    match allow.shapes.get(shape) {
        Some(allow) if allow.unsupported.contains(member) => Support::Unsupported,
        Some(allow) => {
            allow.no_effect.get(member).map_or(Support::Supported, |reason| Support::NoEffect(reason.clone()))
        }
        None => Support::Supported,
    }
}

//! Models as the node editor of CyxWiz saves them: a graph `{nodes, links}` whose types are
//! numbers. What lies between data and output is written out in the words of a definition and read
//! as one, so that there is one set of rules. What has another place in a job (data, loss,
//! optimizer) is named in a note; what this trainer does not have is refused by name.

mod types;
mod way;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::ModelSpec;
use crate::limits;

/// A graph's model, and what else the graph says.
#[derive(Clone, Debug, PartialEq)]
pub struct FromGraph {
    pub model: ModelSpec,
    /// What a job must say for itself, or what was left out and why: a sentence each.
    pub notes: Vec<String>,
}

/// Why a graph is no model.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("the graph does not parse: {0}")]
    Syntax(serde_json::Error),
    #[error("the graph has {found} nodes and links, more than the {limit} allowed")]
    TooLarge { found: usize, limit: usize },
    #[error("two nodes have the id {0}; save the graph again")]
    Twice(i64),
    #[error("a link names node {0}, which is not in the graph")]
    Unlinked(i64),
    #[error("{node} is of type {kind}, which this trainer does not have; use {instead}")]
    Unsupported { node: String, kind: String, instead: &'static str },
    #[error("{node}, {key}: \"{found}\" does not fit; use {allowed}")]
    Parameter { node: String, key: &'static str, found: String, allowed: &'static str },
    #[error("{node} needs the parameter {key}: {allowed}")]
    Missing { node: String, key: &'static str, allowed: &'static str },
    #[error("{node} has {found} inputs, and {wanted}")]
    Inputs { node: String, found: usize, wanted: &'static str },
    #[error("nothing comes after the data; link layers between the input and the output")]
    Empty,
    #[error("{0} is part of a circle of links; models go from input to output")]
    Circle(String),
    #[error(
        "{first} and {second} both lead nowhere; let one node be the last, or link it to Output"
    )]
    Ends { first: String, second: String },
    #[error("{0} is not on the way from the data to the output; remove it, or link it")]
    Aside(String),
    #[error(
        "{0} adds two ways that both have layers; one of them must be the input itself, as in a \
         residual block"
    )]
    TwoWays(String),
    #[error("in the words of a definition the graph does not parse: {0}")]
    Definition(serde_json::Error),
}

/// The file; what an editor needs beside it, such as positions, is of no interest.
#[derive(Debug, Deserialize)]
struct File {
    nodes: Vec<Node>,
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: i64,
    #[serde(rename = "type")]
    kind: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
    /// The parameters that were looked at: whatever else is there was not understood.
    #[serde(skip)]
    asked: RefCell<BTreeSet<&'static str>>,
}

#[derive(Debug, Deserialize)]
struct Link {
    from_node: i64,
    to_node: i64,
}

impl Node {
    /// As its user knows it.
    fn title(&self) -> String {
        let name: String = self.name.chars().take(64).collect();
        match name.trim() {
            "" => format!("node {} ({})", self.id, types::name(self.kind)),
            name => format!("node {} \"{name}\"", self.id),
        }
    }
}

impl ModelSpec {
    /// Whether a JSON text is a graph and not a definition.
    pub fn is_graph(text: &str) -> bool {
        #[derive(Deserialize)]
        struct Has {
            #[expect(dead_code, reason = "only whether it is there is of interest")]
            nodes: Vec<serde::de::IgnoredAny>,
        }
        serde_json::from_str::<Has>(text).is_ok()
    }

    /// Reads a graph; whether its layers make sense is left to [`Self::validate_layers`].
    ///
    /// # Errors
    /// The first node or link that has no meaning here, by its id and name.
    pub fn from_graph(text: &str) -> Result<FromGraph, GraphError> {
        let file: File = serde_json::from_str(text).map_err(GraphError::Syntax)?;
        let found = file.nodes.len().max(file.links.len());
        let limit = 4 * limits::MAX_LAYERS;
        if found > limit {
            return Err(GraphError::TooLarge { found, limit });
        }
        let mut notes = Vec::new();
        let layers = way::layers(&file, &mut notes)?;
        let model = serde_json::json!({ "layers": layers });
        let model = serde_json::from_value(model).map_err(GraphError::Definition)?;
        Ok(FromGraph { model, notes })
    }
}

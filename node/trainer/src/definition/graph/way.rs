//! The way through a graph from its data to its output, as layers one after the other. A node that
//! adds two ways of which one is the input of the other is a residual block.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::types::{Meaning, meaning};
use super::{File, GraphError, Node};

/// The data, whatever nodes they come through.
const SOURCE: usize = usize::MAX;

/// The part of a graph that is the model.
struct Graph<'a> {
    nodes: Vec<(&'a Node, Meaning)>,
    /// Where the input of each comes from.
    inputs: Vec<BTreeSet<usize>>,
    /// Places in an order in which inputs come first.
    rank: Vec<usize>,
    loss_has_softmax: bool,
}

pub(super) fn layers(file: &File, notes: &mut Vec<String>) -> Result<Vec<Value>, GraphError> {
    let graph = Graph::new(file, notes)?;
    let end = graph.end()?;
    let mut seen = BTreeSet::new();
    let mut layers = graph.between(SOURCE, end, &mut seen)?;
    if let Some(aside) = (0..graph.nodes.len()).find(|place| !seen.contains(place)) {
        return Err(GraphError::Aside(graph.nodes[aside].0.title()));
    }
    let softmax = json!({ "type": "activation", "function": "softmax" });
    if graph.loss_has_softmax && layers.last() == Some(&softmax) {
        layers.pop();
        notes.push(
            "the last softmax is left out: the loss softmax_cross_entropy contains it".to_owned(),
        );
    }
    if layers.is_empty() { Err(GraphError::Empty) } else { Ok(layers) }
}

impl<'a> Graph<'a> {
    fn new(file: &'a File, notes: &mut Vec<String>) -> Result<Self, GraphError> {
        let mut places = BTreeMap::new();
        let (mut nodes, mut elsewhere) = (Vec::new(), BTreeMap::new());
        let mut loss_has_softmax = false;
        for node in &file.nodes {
            let place = match meaning(node)? {
                Meaning::Data => {
                    elsewhere.entry("[data]").or_insert_with(Vec::new).push(node.title());
                    Some(SOURCE)
                }
                Meaning::Training { has_softmax } => {
                    loss_has_softmax |= has_softmax;
                    elsewhere.entry("[training]").or_insert_with(Vec::new).push(node.title());
                    None
                }
                Meaning::Layer(layer, note) => {
                    notes.extend(note);
                    notes.extend(node.unheard());
                    nodes.push((node, Meaning::Layer(layer, None)));
                    Some(nodes.len() - 1)
                }
                part @ (Meaning::Add | Meaning::Through | Meaning::End) => {
                    nodes.push((node, part));
                    Some(nodes.len() - 1)
                }
            };
            if places.insert(node.id, place).is_some() {
                return Err(GraphError::Twice(node.id));
            }
        }
        for (table, titles) in elsewhere {
            notes.push(format!("say in {table} of the job what these say: {}", titles.join(", ")));
        }
        let mut inputs = vec![BTreeSet::new(); nodes.len()];
        for link in &file.links {
            let place = |id| places.get(&id).copied().ok_or(GraphError::Unlinked(id));
            if let (Some(from), Some(to)) = (place(link.from_node)?, place(link.to_node)?)
                && to != SOURCE
            {
                inputs[to].insert(from);
            }
        }
        let rank = ranks(&nodes, &inputs)?;
        Ok(Self { nodes, inputs, rank, loss_has_softmax })
    }

    /// The one node that leads nowhere.
    fn end(&self) -> Result<usize, GraphError> {
        let used: BTreeSet<usize> = self.inputs.iter().flatten().copied().collect();
        let mut ends = (0..self.nodes.len()).filter(|place| !used.contains(place));
        match (ends.next(), ends.next()) {
            (None, _) => Err(GraphError::Empty),
            (Some(end), None) => Ok(end),
            (Some(first), Some(second)) => {
                let title = |place: usize| self.nodes[place].0.title();
                Err(GraphError::Ends { first: title(first), second: title(second) })
            }
        }
    }

    /// The layers after `from`, up to and with `to`. What is on the way is noted in `seen`.
    fn between(
        &self,
        from: usize,
        to: usize,
        seen: &mut BTreeSet<usize>,
    ) -> Result<Vec<Value>, GraphError> {
        let (mut layers, mut at) = (Vec::new(), to);
        while at != from {
            if at == SOURCE {
                return Err(GraphError::TwoWays(self.nodes[to].0.title()));
            }
            seen.insert(at);
            let (node, meaning) = &self.nodes[at];
            let inputs: Vec<usize> = self.inputs[at].iter().copied().collect();
            let wrong = |wanted| {
                let found = inputs.len();
                Err(GraphError::Inputs { node: node.title(), found, wanted })
            };
            at = match (meaning, &inputs[..]) {
                (Meaning::Add, &[one, other]) => {
                    let before = |place: usize| (place != SOURCE).then(|| self.rank[place]);
                    let (skip, body) =
                        if before(one) < before(other) { (one, other) } else { (other, one) };
                    let body = self.between(skip, body, seen).map_err(|fault| {
                        let ways = matches!(fault, GraphError::TwoWays(_));
                        if ways { GraphError::TwoWays(node.title()) } else { fault }
                    })?;
                    layers.push(json!({ "type": "residual", "layers": body }));
                    skip
                }
                (Meaning::Add, _) => return wrong("an addition takes two different ones"),
                (_, &[input]) => {
                    if let Meaning::Layer(layer, _) = meaning {
                        layers.push(layer.clone());
                    }
                    input
                }
                (_, _) => return wrong("takes one"),
            };
        }
        layers.reverse();
        Ok(layers)
    }
}

/// By Kahn's method.
fn ranks(nodes: &[(&Node, Meaning)], inputs: &[BTreeSet<usize>]) -> Result<Vec<usize>, GraphError> {
    let mut waiting: Vec<usize> = inputs
        .iter()
        .map(|inputs| inputs.iter().filter(|place| **place != SOURCE).count())
        .collect();
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|place| waiting[*place] == 0).collect();
    let mut rank = vec![None; nodes.len()];
    let mut next = 0;
    while let Some(place) = ready.pop() {
        rank[place] = Some(next);
        next += 1;
        for (other, inputs) in inputs.iter().enumerate() {
            if inputs.contains(&place) {
                waiting[other] -= 1;
                if waiting[other] == 0 {
                    ready.push(other);
                }
            }
        }
    }
    let all: Option<Vec<usize>> = rank.iter().copied().collect();
    all.ok_or_else(|| {
        let circle = rank.iter().position(Option::is_none).map(|place| nodes[place].0.title());
        GraphError::Circle(circle.unwrap_or_default())
    })
}

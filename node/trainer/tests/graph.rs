//! Models that the node editor saved.

use cyxwiz_trainer::{GraphError, LayerSpec, ModelSpec};
use serde_json::{Value, json};

/// A graph of nodes (type, name, parameters), numbered from 1, and links.
fn graph(nodes: &[(u64, &str, Value)], links: &[(i64, i64)]) -> String {
    let nodes: Vec<Value> = (1..)
        .zip(nodes)
        .map(|(id, (kind, name, parameters))| {
            json!({
                "id": id, "type": kind, "name": name, "parameters": parameters,
                "pos_x": 50, "pos_y": 200,
            })
        })
        .collect();
    let links: Vec<Value> = (1..)
        .zip(links)
        .map(|(id, (from, to))| {
            json!({ "id": id, "from_node": from, "from_pin": 0, "to_node": to, "to_pin": 0 })
        })
        .collect();
    json!({ "version": "1.0", "framework": 0, "nodes": nodes, "links": links }).to_string()
}

fn row(count: i64) -> Vec<(i64, i64)> {
    (1..count).map(|id| (id, id + 1)).collect()
}

fn refusal(nodes: &[(u64, &str, Value)], links: &[(i64, i64)]) -> String {
    let found = ModelSpec::from_graph(&graph(nodes, links));
    found.expect_err("it is no model").to_string()
}

fn none() -> Value {
    json!({})
}

#[test]
fn a_row_of_layers_becomes_a_definition() {
    let nodes = [
        (77, "Images", json!({ "dataset_name": "mnist" })),
        (0, "Hidden", json!({ "units": "128" })),
        (29, "ReLU", none()),
        (14, "Dropout", json!({ "rate": "0.25" })),
        (0, "Scores", json!({ "units": 10 })),
        (39, "Softmax", none()),
        (50, "Output", json!({ "classes": "10" })),
        (52, "Loss", none()),
        (60, "Adam", json!({ "learning_rate": "1e-3" })),
    ];
    let text = graph(&nodes, &row(9));
    assert!(ModelSpec::is_graph(&text));
    let found = ModelSpec::from_graph(&text).unwrap();
    let same: ModelSpec = serde_json::from_value(json!({ "layers": [
        { "type": "dense", "units": 128 },
        { "type": "activation", "function": "relu" },
        { "type": "dropout", "rate": 0.25 },
        { "type": "dense", "units": 10 },
    ]}))
    .unwrap();
    assert_eq!(found.model, same);
    let notes = found.notes.join("\n");
    for words in ["[data]", "\"Images\"", "[training]", "\"Adam\"", "softmax"] {
        assert!(notes.contains(words), "{words} in {notes}");
    }
    assert!(!ModelSpec::is_graph(&serde_json::to_string(&same).unwrap()));
}

#[test]
fn a_softmax_stays_where_the_loss_has_none() {
    let nodes = |loss| {
        let dense = json!({ "units": "2", "activation": "ReLU" });
        [(77, "In", none()), (0, "d", dense), (39, "Softmax", none()), (loss, "Loss", none())]
    };
    let layers = |loss| {
        let found = ModelSpec::from_graph(&graph(&nodes(loss), &row(4))).unwrap();
        found.model.layers
    };
    let (squared, entropy) = (layers(51), layers(52));
    assert_eq!((squared.len(), entropy.len()), (2, 1));
    assert!(matches!(entropy[0], LayerSpec::Dense { activation: Some(_), .. }), "{entropy:?}");
}

#[test]
fn what_a_layer_says_in_vain_is_told() {
    let dense = json!({ "units": "2", "in_features": "4", "kernel_regularizer": "l2" });
    let found = ModelSpec::from_graph(&graph(&[(77, "In", none()), (0, "d", dense)], &row(2)));
    let notes = found.unwrap().notes.join("\n");
    assert!(notes.contains("kernel_regularizer") && !notes.contains("in_features"), "{notes}");
}

#[test]
fn an_addition_with_its_own_input_is_a_residual_block() {
    let nodes = [
        (77, "Input", none()),
        (0, "First", json!({ "units": "16" })),
        (0, "Inner", json!({ "units": "16" })),
        (34, "GELU", none()),
        (47, "Skip", none()),
        (0, "Last", json!({ "units": "2" })),
    ];
    let found =
        ModelSpec::from_graph(&graph(&nodes, &[(1, 2), (2, 3), (3, 4), (4, 5), (2, 5), (5, 6)]));
    let layers = found.unwrap().model.layers;
    assert_eq!(layers.len(), 3);
    let LayerSpec::Residual { layers: inner, .. } = &layers[1] else { panic!("{layers:?}") };
    assert_eq!(inner.len(), 2);
}

#[test]
fn pictures_of_the_editor_are_channels_last_and_ours_channels_first() {
    let nodes = [
        (77, "Input", none()),
        (40, "Picture", json!({ "shape": "-1,28,28,1" })),
        (2, "Conv", json!({ "filters": "6", "kernel_size": "5", "padding": "same" })),
        (5, "Pool", json!({ "pool_size": "2", "stride": "2" })),
        (15, "Flatten", none()),
        (0, "Scores", json!({ "units": "10" })),
    ];
    let found = ModelSpec::from_graph(&graph(&nodes, &row(6))).unwrap();
    assert_eq!(found.model.layers[0], LayerSpec::Reshape { shape: vec![1, 28, 28] });
    assert!(found.notes.iter().any(|note| note.contains("channels first")), "{:?}", found.notes);
    let colours = [(77, "Input", none()), (40, "Picture", json!({ "shape": "-1,32,32,3" }))];
    assert!(refusal(&colours, &row(2)).contains("channels first"));
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let dense = (0, "Dense", json!({ "units": "2" }));
    for (kind, name) in [
        (16, "RNN"),
        (63, "Adagrad"),
        (79, "Augmentation"),
        (27, "TransformerDecoder"),
        (28, "PositionalEncoding"),
    ] {
        let found = refusal(&[(77, "In", none()), (kind, "mine", none()), dense.clone()], &row(3));
        assert!(found.contains("\"mine\"") && found.contains(name), "{found}");
    }
    let unknown = refusal(&[(77, "In", none()), (999, "new", none())], &row(2));
    assert!(unknown.contains("999"), "{unknown}");
    let lacking = refusal(&[(77, "In", none()), (0, "wide", none())], &row(2));
    assert!(lacking.contains("\"wide\" needs the parameter units"), "{lacking}");
    let bad = refusal(&[(77, "In", none()), (0, "wide", json!({ "units": "many" }))], &row(2));
    assert!(bad.contains("\"many\"") && bad.contains("whole number"), "{bad}");
}

#[test]
fn graphs_that_are_no_way_are_refused() {
    let dense = |name: &'static str| (0, name, json!({ "units": "2" }));
    let input = (77, "In", none());
    let add = (47, "Sum", none());
    let refused =
        |nodes: &[_], links: &[_]| ModelSpec::from_graph(&graph(nodes, links)).unwrap_err();
    let circle = refused(&[dense("a"), dense("b"), dense("c")], &[(1, 2), (2, 1), (2, 3)]);
    assert!(matches!(circle, GraphError::Circle(_)), "{circle}");
    let ends = refused(&[input.clone(), dense("a"), dense("b")], &[(1, 2), (1, 3)]);
    assert!(matches!(ends, GraphError::Ends { .. }), "{ends}");
    let links = [(1, 2), (1, 3), (2, 4), (3, 4)];
    let ways = refused(&[input.clone(), dense("a"), dense("b"), add.clone()], &links);
    assert!(matches!(ways, GraphError::TwoWays(_)), "{ways}");
    let alone = refused(&[input.clone(), dense("a"), add], &[(1, 2), (2, 3)]);
    assert!(matches!(alone, GraphError::Inputs { found: 1, .. }), "{alone}");
    let unlinked = refused(&[input.clone(), dense("a")], &[(1, 2), (2, 9)]);
    assert!(matches!(unlinked, GraphError::Unlinked(9)), "{unlinked}");
    let empty = refused(&[input], &[]);
    assert!(matches!(empty, GraphError::Empty), "{empty}");
    let text = json!({ "nodes": [{ "id": 1, "type": "Dense" }] }).to_string();
    let names = ModelSpec::from_graph(&text).unwrap_err();
    assert!(matches!(names, GraphError::Syntax(_)), "{names}");
}

#[test]
fn deep_and_large_graphs_end() {
    // Residual blocks within each other.
    let mut nodes = vec![(77, "In", none())];
    let mut links = Vec::new();
    for at in 0..200_i64 {
        nodes.push((0, "d", json!({ "units": "4" })));
        links.push((at + 1, at + 2));
    }
    for at in 0..200_i64 {
        nodes.push((47, "s", none()));
        links.push((at + 201, at + 202));
        links.push((201 - at - 1, at + 202));
    }
    ModelSpec::from_graph(&graph(&nodes, &links)).ok();
    let many: Vec<_> = (0..100_000).map(|_| (0, "d", json!({ "units": "4" }))).collect();
    let found = ModelSpec::from_graph(&graph(&many, &[])).unwrap_err();
    assert!(matches!(found, GraphError::TooLarge { .. }), "{found}");
}

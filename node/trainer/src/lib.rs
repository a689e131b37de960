//! Trains, evaluates and saves models.
//!
//! A [`Workload`] says what is trained; [`Workload::check`] fits it to its data and tells a
//! [`Plan`] or what is wrong where; [`train`] does the work on an [`Engine`] and leaves
//! `model.safetensors`, `model.json` and `metrics.json`; [`train_at`] also leaves checkpoints and
//! goes on from one; [`load_model`] and [`evaluate`] read them back, [`sample`] has a model of
//! texts write. [`serve`] is the body of a child process that does a [`Job`] of any kind and
//! speaks [`frames`].
//!
//! The same workload and data give the same bits in every output file, whatever the number of
//! threads, on engines of one [name](Engine::name). This crate never opens a socket, never reads outside the directories it is given, and
//! never takes a limit of [`limits`] on trust.

mod apply;
mod checkpoint;
mod data;
mod definition;
pub mod engine;
pub mod frames;
mod layers;
pub mod limits;
mod metrics;
mod model;
mod optimizer;
mod output;
mod plan;
mod random;
mod sample;
mod schedule;
mod serve;
mod train;

pub use checkpoint::ResumeError;
pub use cyxwiz_arrayfire::{Attempt, Backend, Obstacle, UnknownBackend, candidates};
pub use data::encoding::{ColumnEncoding, Encoding};
pub use data::scaling::Scaling;
pub use data::{ArrayFault, DataError, FieldFault};
pub use definition::{
    Activation, Application, ClassWeights, Columns, DataSpec, DefinitionError, EarlyStoppingSpec,
    EvaluateSpec, ExtractSpec, FineTune, FineTuneSpec, Freeze, FromGraph, GraphError, ImageSpec,
    InferSpec, Job, JobKind, JobTables, LayerRef, LayerSpec, Loss, LossSpec, Missing, ModelSpec,
    NamedPadding, NamedWeights, Normalize, OnOutOfMemory, OptimizerSpec, Padding, Pair,
    PositiveWeight, Problem, ScheduleSpec, StartSpec, Streaming, TableFormat, Task, TestSplit,
    TextSpec, TrainingSpec, WarmupSpec, Workload,
};
pub use engine::arrayfire::ArrayFireEngine;
pub use engine::arrayfire::devices::{
    ArrayFireDevice, ArrayFireFound, ArrayFireReport, arrayfire_report,
};
pub use engine::choice::{ArrayFireChoice, EngineChoice};
pub use engine::cpu::{CpuEngine, peak_flops};
pub use engine::{Engine, EngineError};
pub use layers::{Axes, Misfit};
pub use model::{LoadError, ModelFile, Outputs, TrainedModel, evaluate, load_model};
pub use plan::{
    CheckError, LayerPlan, LayerState, ModelTable, PartError, Plan, TargetError, model_table,
};
pub use sample::{SampleError, Sampling, sample};
pub use serve::{CHECKPOINT_FOLDER, Means, RESUME_FILE, ServeExit, serve, serve_on};
pub use train::{Diverged, Event, Places, Requests, TrainError, train, train_at};

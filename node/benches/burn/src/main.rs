//! The models of `cyxwiz bench training` on burn, as its users write them.
//!
//! Called with the folder of the data, the name of a model and a number of threads. Trains one
//! epoch for each line on standard input, and answers with its mean loss.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::attention::{
    MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask,
};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    Embedding, EmbeddingConfig, Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    PaddingConfig2d, Relu,
};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

const BATCH: usize = 128;
const CONTEXT: usize = 32;
const PICTURE: usize = 784;

#[derive(Module, Debug)]
struct Mlp {
    layers: [Linear; 3],
}

impl Mlp {
    fn new(device: &Device) -> Self {
        let layer = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self { layers: [layer(784, 512), layer(512, 256), layer(256, 10)] }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = Relu::new().forward(self.layers[0].forward(x));
        self.layers[2].forward(Relu::new().forward(self.layers[1].forward(x)))
    }
}

#[derive(Module, Debug)]
struct Cnn {
    first: Conv2d,
    second: Conv2d,
    pool: MaxPool2d,
    hidden: Linear,
    output: Linear,
}

impl Cnn {
    fn new(device: &Device) -> Self {
        let conv = |channels, filters| {
            let conv = Conv2dConfig::new([channels, filters], [3, 3]);
            conv.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
        };
        Self {
            first: conv(1, 16),
            second: conv(16, 32),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            hidden: LinearConfig::new(1568, 128).init(device),
            output: LinearConfig::new(128, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let rows = x.dims()[0];
        let x = self.first.forward(x.reshape([rows, 1, 28, 28]));
        let x = self.second.forward(self.pool.forward(Relu::new().forward(x)));
        let x = self.pool.forward(Relu::new().forward(x)).reshape([rows, 1568]);
        self.output.forward(Relu::new().forward(self.hidden.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Block {
    before: [LayerNorm; 2],
    attention: MultiHeadAttention,
    wide: Linear,
    narrow: Linear,
}

#[derive(Module, Debug)]
struct Transformer {
    tokens: Embedding,
    positions: Param<Tensor<2>>,
    blocks: [Block; 2],
    norm: LayerNorm,
    output: Linear,
}

impl Transformer {
    fn new(device: &Device) -> Self {
        let norm = || LayerNormConfig::new(64).init(device);
        let block = || Block {
            before: [norm(), norm()],
            attention: MultiHeadAttentionConfig::new(64, 4).with_dropout(0.0).init(device),
            wide: LinearConfig::new(64, 256).init(device),
            narrow: LinearConfig::new(256, 64).init(device),
        };
        let drawn = Tensor::random([CONTEXT, 64], Distribution::Normal(0.0, 1.0), device);
        Self {
            tokens: EmbeddingConfig::new(64, 64).init(device),
            positions: Param::from_tensor(drawn),
            blocks: [block(), block()],
            norm: norm(),
            output: LinearConfig::new(64, 64).init(device),
        }
    }

    fn forward(&self, x: Tensor<2, Int>, device: &Device) -> Tensor<2> {
        let rows = x.dims()[0];
        let mask = generate_autoregressive_mask(rows, CONTEXT, device);
        let mut x = self.tokens.forward(x) + self.positions.val().unsqueeze();
        for block in &self.blocks {
            let seen = MhaInput::self_attn(block.before[0].forward(x.clone()));
            x = x + block.attention.forward(seen.mask_attn(mask.clone())).context;
            let wide = Gelu::new().forward(block.wide.forward(block.before[1].forward(x.clone())));
            x = x + block.narrow.forward(wide);
        }
        self.output.forward(self.norm.forward(x)).reshape([rows * CONTEXT, 64])
    }
}

/// Rows of bytes, as `numpy.load` reads them.
fn load(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let length = bytes.get(8..10).ok_or("no NumPy file")?;
    let header = 10 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    Ok(bytes.get(header..).ok_or("no NumPy file")?.to_vec())
}

/// The rows of the data, in an order of the epoch's own.
fn shuffled(rows: usize, state: &mut u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    for last in (1..rows).rev() {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(last, (*state >> 33) as usize % (last + 1));
    }
    order
}

fn pick(values: &[u8], width: usize, rows: &[usize]) -> Vec<u8> {
    rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
}

fn ids(values: &[u8]) -> Vec<i64> {
    values.iter().map(|id| i64::from(*id)).collect()
}

/// Trains one epoch for each line that comes in; `width` values of x and `targets` of y a row.
fn serve<M: Module + Clone>(
    mut model: M,
    folder: &Path,
    (width, targets): (usize, usize),
    device: &Device,
    forward: impl Fn(&M, Vec<u8>) -> Tensor<2>,
) -> Result<(), Box<dyn Error>> {
    let (x, y) = (load(&folder.join("x.npy"))?, load(&folder.join("y.npy"))?);
    let rows = x.len() / width;
    let criterion = CrossEntropyLossConfig::new().init(device);
    let (mut optimizer, mut state) = (AdamConfig::new().init(), 1);
    for line in std::io::stdin().lock().lines() {
        line?;
        let mut total = 0.0;
        for rows in shuffled(rows, &mut state).chunks(BATCH) {
            let output = forward(&model, pick(&x, width, rows));
            let wanted = ids(&pick(&y, targets, rows));
            let count = wanted.len();
            let wanted = Tensor::<1, Int>::from_data(TensorData::new(wanted, [count]), device);
            let loss = criterion.forward(output, wanted);
            total += loss.clone().into_scalar::<f64>() * rows.len() as f64;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(0.001_f64, model, gradients);
        }
        println!("{}", serde_json::json!({ "loss": total / rows as f64 }));
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, name, threads] = &arguments[..] else {
        return Err("call it with a folder, a model and a number of threads".into());
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let (folder, device) = (Path::new(folder), Device::flex().autodiff());
    let pictures = |values: Vec<u8>| {
        let rows = values.len() / PICTURE;
        let values: Vec<f32> = values.iter().map(|value| f32::from(*value) * 0.00392).collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, PICTURE]), &device)
    };
    match name.as_str() {
        "mlp" => serve(Mlp::new(&device), folder, (PICTURE, 1), &device, |model, x| {
            model.forward(pictures(x))
        }),
        "cnn" => serve(Cnn::new(&device), folder, (PICTURE, 1), &device, |model, x| {
            model.forward(pictures(x))
        }),
        "transformer" => {
            let model = Transformer::new(&device);
            serve(model, folder, (CONTEXT, CONTEXT), &device, |model, x| {
                let rows = x.len() / CONTEXT;
                let data = TensorData::new(ids(&x), [rows, CONTEXT]);
                model.forward(Tensor::from_data(data, &device), &device)
            })
        }
        other => Err(format!("no model is called {other}").into()),
    }
}

//! Which files a job reads, and how their rows become features, targets and splits. What can be
//! judged without the files is judged in [`super::rules`]; reading is left to [`crate::data`].

use serde::{Deserialize, Serialize};

/// Which files are read, and how their rows become features, targets and splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Plain file name; its ending tells the format.
    pub source: String,
    /// Tables: the target column, or several for a regression. NPZ: the array of the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Columns>,
    /// Tables: the column that tells rows apart, kept with what is said of them; no feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// NPY and IDX: the file of the targets, one entry or one row for each row of `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Tables: the columns used, in this order; default: all but the labels, in file order. NPZ:
    /// the one array of the features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// Tables: feature columns of any text, each turned into one 0-or-1 feature for every text
    /// that its training rows hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_hot: Option<Vec<String>>,
    /// What is done where a feature has no value. Default: refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// What the features of a row are to the first layer, as `[channels, height, width]`; the
    /// product must be their number. Default: what the file says, or one axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<u32>>,
    /// Archives of images only, and needed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageSpec>,
    /// Text only, and needed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSpec>,
    /// Factor on every feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    #[serde(default)]
    pub normalize: Normalize,
    /// Whether features are read from disk as they are needed. Default: if they do not fit into
    /// half of the memory.
    #[serde(default, skip_serializing_if = "Streaming::is_auto")]
    pub streaming: Streaming,
    /// Rows kept out of training until the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestSplit>,
    /// Fraction of the remaining rows that is only watched, drawn by the seed.
    #[serde(default)]
    pub validation: f64,
}

impl DataSpec {
    /// The files that it reads.
    pub(crate) fn file_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.source.as_str()).chain(self.labels.as_deref())
    }

    /// What is done where a feature has no value.
    pub(crate) fn missing(&self) -> Missing {
        self.missing.unwrap_or_default()
    }
}

/// What a file is, told by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `.csv` and `.csv.gz`, with a header.
    Csv,
    /// `.parquet`, without nesting.
    Parquet,
    /// `.npy`, the first axis is rows.
    Npy,
    /// `.npz`, features and targets in one file.
    Npz,
    /// MNIST's: `.idx`, `idx3-ubyte` and the like, also with `.gz`.
    Idx,
    /// `.zip` of folders of images, each folder a class.
    Images,
    /// `.txt`, UTF-8, learnt character by character.
    Text,
}

impl Format {
    pub(crate) fn of(file: &str) -> Option<Self> {
        let name = file.to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let unpacked = [
            (".csv", Self::Csv),
            (".idx", Self::Idx),
            ("-ubyte", Self::Idx),
            ("-byte", Self::Idx),
            ("-short", Self::Idx),
            ("-int", Self::Idx),
            ("-float", Self::Idx),
            ("-double", Self::Idx),
        ];
        let packed = [
            (".parquet", Self::Parquet),
            (".npy", Self::Npy),
            (".npz", Self::Npz),
            (".zip", Self::Images),
            (".txt", Self::Text),
        ];
        let ending = |name: &str, known: &[(&str, Self)]| {
            known.iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| *format)
        };
        ending(plain, &unpacked).or_else(|| ending(&name, &packed))
    }
}

/// What is done where a feature has no value: an empty field, a null, a NaN, or one of the words
/// that stand for them in a column of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The file is at fault.
    #[default]
    Refuse,
    /// The row is left out, as is one whose target is missing.
    DropRow,
    /// The mean of the column over the training rows.
    Mean,
    Zero,
    Value(f64),
}

/// Where features are while a model is trained. The result is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StreamingKey", into = "StreamingKey")]
pub enum Streaming {
    /// In memory if they fit into half of it, else on disk. Written `"auto"`.
    #[default]
    Auto,
    /// On disk. Written `true`.
    Always,
    /// In memory, or nowhere. Written `false`.
    Never,
}

/// `Streaming` as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"auto\", true or false")]
enum StreamingKey {
    Flag(bool),
    Word(String),
}

impl Streaming {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

impl TryFrom<StreamingKey> for Streaming {
    type Error = &'static str;

    fn try_from(key: StreamingKey) -> Result<Self, Self::Error> {
        match key {
            StreamingKey::Flag(true) => Ok(Self::Always),
            StreamingKey::Flag(false) => Ok(Self::Never),
            StreamingKey::Word(word) if word == "auto" => Ok(Self::Auto),
            StreamingKey::Word(_) => Err("streaming is \"auto\", true or false"),
        }
    }
}

impl From<Streaming> for StreamingKey {
    fn from(streaming: Streaming) -> Self {
        match streaming {
            Streaming::Auto => Self::Word("auto".to_owned()),
            Streaming::Always => Self::Flag(true),
            Streaming::Never => Self::Flag(false),
        }
    }
}

/// How images become features, `[channels, height, width]`, values from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Height and width in pixels that every image is brought to.
    pub size: [u32; 2],
    /// 1 for grey, 3 for red, green and blue.
    pub channels: u32,
}

/// How a text becomes rows: windows of characters, each character's target the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// Characters of a window.
    pub context: u32,
    /// Characters from the start of one window to that of the next. Default: `context`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<u32>,
}

impl TextSpec {
    pub(crate) fn stride(&self) -> usize {
        self.stride.unwrap_or(self.context) as usize
    }

    /// Windows that must lie between two parts of a split so that they share no window's input.
    pub(crate) fn gap(&self) -> usize {
        (self.context as usize).div_ceil(self.stride().max(1)).saturating_sub(1)
    }
}

/// One column name or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a column name or a list of column names")]
pub enum Columns {
    One(String),
    Many(Vec<String>),
}

impl Columns {
    /// The names in order.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// How features are brought to a common range; measured on the training rows alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    #[default]
    None,
    /// Mean 0 and standard deviation 1 for each column.
    Standard,
    /// 0 to 1 for each column.
    MinMax,
}

/// How test rows are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "TestKeys", into = "TestKeys")]
pub enum TestSplit {
    /// Every row whose index, counted from 0, is a multiple of this.
    Every(u32),
    /// This share of the rows, drawn by the seed.
    Fraction(f64),
}

/// `TestSplit` as it is written: a table with one of two keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestKeys {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fraction: Option<f64>,
}

impl TryFrom<TestKeys> for TestSplit {
    type Error = &'static str;

    fn try_from(keys: TestKeys) -> Result<Self, Self::Error> {
        match (keys.every, keys.fraction) {
            (Some(every), None) => Ok(Self::Every(every)),
            (None, Some(fraction)) => Ok(Self::Fraction(fraction)),
            (None, None) | (Some(_), Some(_)) => {
                Err("test needs exactly one key: {every = 5} or {fraction = 0.2}")
            }
        }
    }
}

impl From<TestSplit> for TestKeys {
    fn from(split: TestSplit) -> Self {
        match split {
            TestSplit::Every(every) => Self { every: Some(every), fraction: None },
            TestSplit::Fraction(fraction) => Self { every: None, fraction: Some(fraction) },
        }
    }
}

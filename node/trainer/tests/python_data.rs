//! Files as the tools of others write them: NumPy's arrays and archives, pyarrow's Parquet,
//! Pillow's images. Needs python3 with these, or one with venv and pip that may install them; says
//! so where there is neither, and fails there if `REQUIRE_PYTHON` is set.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "python/environment.rs"]
mod environment;

use std::path::Path;
use std::process::Command;

use cyxwiz_trainer::{CheckError, Plan, Workload};

/// Writes one small data set in many ways.
const SCRIPT: &str = r#"
import gzip, io, struct, zipfile
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

random = np.random.default_rng(1)
x = random.integers(0, 256, (30, 6, 5)).astype(np.uint8)
y = np.arange(30) % 3
names = np.array(["ash", "elm", "oak"])

for kind in ["f4", "f8", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]:
    np.save(f"x-{kind}.npy", x.astype(kind))
np.save("bools.npy", x > 99)
np.save("fortran.npy", np.asfortranarray(x))
np.save("big-endian.npy", x.astype(">f4"))
np.save("complex.npy", x.astype("c8"))
np.save("pickled.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
np.save("y.npy", y)
np.savez("plain.npz", x=x, y=y)
np.savez_compressed("packed.npz", features=x.astype("f4"), labels=y)
np.savez("three.npz", a=x, b=y, c=y)

with open("x-idx3-ubyte", "wb") as out:
    out.write(struct.pack(">BBBBIII", 0, 0, 8, 3, 30, 6, 5) + x.tobytes())
with gzip.open("y-idx1-ubyte.gz", "wb") as out:
    out.write(struct.pack(">BBBBI", 0, 0, 8, 1, 30) + y.astype(np.uint8).tobytes())
with gzip.open("x-idx3-ubyte.gz", "wb") as out:
    out.write(struct.pack(">BBBBIII", 0, 0, 8, 3, 30, 6, 5) + x.tobytes())

gaps = [None if i % 7 == 3 else float(i) for i in range(30)]
table = pa.table({
    "f": pa.array(gaps, pa.float32()), "d": pa.array(gaps, pa.float64()),
    "i": pa.array(range(30), pa.int8()), "u": pa.array([2**32 - 1] * 30, pa.uint32()),
    "on": pa.array([i % 2 == 0 for i in range(30)]),
    "tree": pa.array(names[y]), "dict": pa.array(names[y]).dictionary_encode(),
    "kind": pa.array(y),
})
for compression in ["none", "snappy", "gzip", "lz4", "zstd", "brotli"]:
    pq.write_table(table, f"{compression}.parquet", compression=compression, row_group_size=8)
pq.write_table(table, "v2.parquet", data_page_version="2.0", use_dictionary=False)
dates = pa.table({"t": pa.array([0] * 30, pa.timestamp("us")), "kind": pa.array(y)})
pq.write_table(dates, "dates.parquet")
nested = pa.table({"l": pa.array([[1.0]] * 30), "kind": pa.array(y)})
pq.write_table(nested, "nested.parquet")

with zipfile.ZipFile("images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.mkdir("ash")
    for i in range(30):
        kind = ["png", "jpg", "jpeg"][i % 3]
        mode = ["L", "RGB", "RGBA", "P", "I;16", "1"][i % 6] if kind == "png" else "RGB"
        image = Image.fromarray(np.stack([x[i]] * 3, -1)).resize((20 + i, 30))
        image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
        out = io.BytesIO()
        image.save(out, "png" if kind == "png" else "jpeg")
        archive.writestr(f"{names[y[i]]}/{i}.{kind}", out.getvalue())
"#;

fn check(inputs: &Path, outputs: usize, data: &str) -> Result<Plan, CheckError> {
    let text = format!(
        "[model]\nlayers = [{{type=\"flatten\"}}, {{type=\"dense\", units={outputs}}}]\n[data]\n{data}\n[training]\n\
         epochs = 1\nbatch_size = 4\nloss = \"softmax_cross_entropy\"\n\
         optimizer = {{type=\"adam\", learning_rate=0.01}}\n"
    );
    toml::from_str::<Workload>(&text).unwrap().check(inputs)
}

#[test]
fn files_of_python_are_read() {
    let (test, modules) = ("files_of_python_are_read", "numpy, pyarrow.parquet, PIL.Image");
    let packages = ["numpy", "pyarrow", "pillow"];
    let Some(python) = environment::python(test, modules, &packages) else { return };
    let inputs = tempfile::tempdir().unwrap();
    let inputs = inputs.path();
    let ran = Command::new(python).args(["-c", SCRIPT]).current_dir(inputs).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    arrays(inputs);
    tables(inputs);
    let images = "source = \"images.zip\"\nimages = {size = [16, 12], channels = 3}";
    let plan = check(inputs, 3, images).unwrap();
    assert_eq!((plan.train_rows, plan.feature_shape), (30, vec![3, 16, 12]));
}

fn arrays(inputs: &Path) {
    let read = |source: &str, labels: &str| {
        let data = format!("source = \"{source}\"\nlabels = \"{labels}\"");
        let plan = check(inputs, 3, &data)?;
        Ok::<_, CheckError>((plan.train_rows, plan.feature_shape))
    };
    for kind in ["f4", "f8", "i2", "i4", "i8", "u1", "u2", "u4", "u8"] {
        let shape = read(&format!("x-{kind}.npy"), "y.npy").unwrap();
        assert_eq!(shape, (30, vec![6, 5]), "{kind}");
    }
    assert_eq!(read("bools.npy", "y.npy").unwrap(), (30, vec![6, 5]));
    for (file, word) in [
        ("fortran.npy", "ascontiguousarray"),
        ("big-endian.npy", ">f4"),
        ("complex.npy", "<c8"),
        ("pickled.npy", "|O"),
    ] {
        let message = read(file, "y.npy").unwrap_err().message();
        assert!(message.contains(file) && message.contains(word), "{message}");
    }
    assert_eq!(read("x-idx3-ubyte", "y-idx1-ubyte.gz").unwrap(), (30, vec![1, 6, 5]));
    assert_eq!(read("x-idx3-ubyte.gz", "y-idx1-ubyte.gz").unwrap(), (30, vec![1, 6, 5]));
    for (file, keys) in [
        ("plain.npz", ""),
        ("packed.npz", ""),
        ("packed.npz", "label = \"labels\""),
        ("three.npz", "features = [\"a\"]\nlabel = \"c\""),
    ] {
        let plan = check(inputs, 3, &format!("source = \"{file}\"\n{keys}")).unwrap();
        assert_eq!((plan.train_rows, plan.feature_shape), (30, vec![6, 5]), "{file}");
    }
}

fn tables(inputs: &Path) {
    for file in ["none", "snappy", "gzip", "lz4", "v2"] {
        let keys = "label = \"kind\"\none_hot = [\"tree\", \"dict\"]\nmissing = \"mean\"";
        let plan = check(inputs, 3, &format!("source = \"{file}.parquet\"\n{keys}")).unwrap();
        assert_eq!((plan.train_rows, plan.features), (30, 5 + 3 + 3), "{file}");
        // Every seventh row has a gap.
        let keys = "label = \"tree\"\nfeatures = [\"f\", \"i\"]\nmissing = \"drop_row\"";
        let plan = check(inputs, 3, &format!("source = \"{file}.parquet\"\n{keys}")).unwrap();
        assert_eq!((plan.train_rows, plan.features), (26, 2), "{file}");
    }
    for (file, features, word) in [
        ("zstd.parquet", "i", "zstd"),
        ("brotli.parquet", "i", "brotli"),
        ("dates.parquet", "t", "\"t\""),
        ("nested.parquet", "l.list.element", "nested"),
    ] {
        let keys = format!("label = \"kind\"\nfeatures = [\"{features}\"]");
        let refusal = check(inputs, 3, &format!("source = \"{file}\"\n{keys}")).unwrap_err();
        let message = refusal.message();
        assert!(message.contains(file) && message.to_lowercase().contains(word), "{message}");
    }
}

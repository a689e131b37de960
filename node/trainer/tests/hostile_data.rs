//! Files that were made to hurt: cut off, of the wrong kind, claiming sizes that they do not have,
//! unpacking to far more than they are. Each is refused in words that name it, none makes the
//! trainer panic, and none makes it take the memory that it claims to need.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "data/files.rs"]
#[expect(dead_code, reason = "these tests need only some kinds of file")]
mod files;

use cyxwiz_trainer::{Workload, limits};
use files::*;
use parquet::basic::Compression;
use proptest::prelude::*;

const NPZ: &str = "source = \"d.npz\"";
const IDX: &str = "source = \"x.idx.gz\"\nlabels = \"y.idx\"";
const IMAGES: &str = "source = \"d.zip\"\nimages = {size = [2, 2], channels = 3}";
const PARQUET: &str = "source = \"d.parquet\"\nlabel = \"kind\"";
const CSV: &str = "source = \"d.csv.gz\"\nlabel = \"kind\"";

#[test]
fn idx_is_measured_before_it_is_read() {
    let labels = idx(&[2], &[0, 1]);
    let packed = |bytes: Vec<u8>, words: &[&str]| {
        let packed = gzip(&bytes);
        refused(&classes(2, IDX), &[("x.idx.gz", &packed), ("y.idx", &labels)], words);
    };
    packed(idx(&[2, 60_000, 9_000], &[1; 9]), &["x.idx.gz", "1080000000 bytes", "unpack"]);
    packed(idx(&[u32::MAX; 3], &[]), &["more than any file"]);
    packed(idx(&[2, 70_000, 4], &[0; 560_000]), &["x.idx.gz has 280000 values a row"]);
    packed(idx(&[2, 2], &[1, 2, 3]), &["x.idx.gz", "end before row 1"]);
    packed(idx(&[2, 2], &[1; 5]), &["goes on after the 4 bytes"]);
    packed(idx(&[0, 2], &[]), &["has no rows"]);
    packed(idx(&[1; 10], &[1]), &["axes"]);
    packed(vec![0, 0, 7, 1, 0, 0, 0, 1, 1], &["0x07"]);
    packed(vec![0, 0, 8, 9, 0], &["header"]);
    packed(b"not IDX at all".to_vec(), &["signature"]);
    let text = classes(2, IDX);
    let broken: Files<'_> = &[("x.idx.gz", b"not gzip"), ("y.idx", &labels)];
    refused(&text, broken, &["x.idx.gz"]);
    let mut wrong_sum = gzip(&idx(&[2, 2], &[1, 2, 3, 4]));
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    refused(&text, &[("x.idx.gz", &wrong_sum), ("y.idx", &labels)], &["x.idx.gz"]);
    let plain = classes(2, "source = \"x.idx\"\nlabels = \"y.idx\"");
    let x = idx(&[2, 2], &[1; 3]);
    refused(&plain, &[("x.idx", &x), ("y.idx", &labels)], &["4 bytes", "holds 3"]);
    let three = idx(&[3], &[0, 1, 0]);
    let x = idx(&[2, 2], &[1; 4]);
    refused(&plain, &[("x.idx", &x), ("y.idx", &three)], &["y.idx has 3 rows", "x.idx has 2"]);
    let pairs = idx(&[2, 2], &[0, 1, 1, 1]);
    refused(&plain, &[("x.idx", &x), ("y.idx", &pairs)], &["y.idx", "row 2", "add up to 2"]);
}

#[test]
fn npz_is_measured_before_it_is_read() {
    let y = npy("|u1", "2,", &[0, 1]);
    let archive = |x: Vec<u8>, words: &[&str]| {
        let file = zipped(&[("x.npy", &x), ("y.npy", &y)]);
        refused(&classes(2, NPZ), &[("d.npz", &file)], words);
    };
    archive(npy("|u1", "2, 500000000", &[1; 8]), &["array \"x\"", "unpack"]);
    archive(npy("|u1", "2, 300000", &vec![0; 600_000]), &["300000 values a row"]);
    archive(npy("|u1", "2, 3", &[1; 5]), &["\"x\"", "end before row 1"]);
    archive(npy("|u1", "2, 3", &[1; 7]), &["goes on after"]);
    archive(b"text".to_vec(), &["\"x\"", "header"]);
    let file = zipped(&[("a.npy", &y), ("b.npy", &y), ("c.npy", &y)]);
    refused(&classes(2, NPZ), &[("d.npz", &file)], &["no array \"x\"", "a, b, c"]);
    let named = format!("{NPZ}\nlabel = \"z\"");
    refused(&classes(2, &named), &[("d.npz", &file)], &["no array"]);
    refused(&classes(2, NPZ), &[("d.npz", b"no archive")], &["d.npz", "ZIP"]);
    refused(&classes(2, NPZ), &[("d.npz", &zipped(&[]))], &["no array \"x\""]);
    let mut file = zipped(&[("x.npy", &npy("|u1", "2, 2", &[1, 2, 3, 4])), ("y.npy", &y)]);
    let cut = file.len() / 2;
    file.truncate(cut);
    refused(&classes(2, NPZ), &[("d.npz", &file)], &["d.npz"]);
}

#[test]
fn an_archive_of_images_names_the_bad_one() {
    let good = png(1, 1, vec![1, 2, 3]);
    let text = classes(2, IMAGES);
    let with = |entries: &[(&str, &[u8])], words: &[&str]| {
        let mut all = vec![("a/1.png", good.as_slice()), ("b/1.png", good.as_slice())];
        all.extend(entries);
        refused(&text, &[("d.zip", &zipped(&all))], words);
    };
    with(&[("a/2.png", b"no image")], &["d.zip", "a/2.png", "decoded"]);
    with(&[("a/2.png", &good[..good.len() - 20])], &["a/2.png", "decoded"]);
    with(&[("a/2.jpg", &good)], &["a/2.jpg", "decoded"]);
    with(&[("a/notes.txt", b"hello")], &["a/notes.txt", ".png"]);
    with(&[("1.png", &good)], &["1.png", "no folder"]);
    // A header alone: 60000 times 60000 points, and 16000 times 16000 that few bytes follow.
    for (side, word) in [(60_000_u32, "a/2.png"), (16_000, "a/2.png")] {
        let mut huge = good.clone();
        huge[16..20].copy_from_slice(&side.to_be_bytes());
        huge[20..24].copy_from_slice(&side.to_be_bytes());
        let sum = crc(&huge[12..29]);
        huge[29..33].copy_from_slice(&sum.to_be_bytes());
        with(&[("a/2.png", &huge)], &[word, "decoded", "imit"]);
    }
    let bomb = vec![0; limits::MAX_IMAGE_BYTES as usize + 1];
    with(&[("a/2.png", &bomb)], &["a/2.png", "unpacks to more than"]);
    let one = zipped(&[("a/1.png", &good), ("a/2.png", &good)]);
    refused(&text, &[("d.zip", &one)], &["one value only", "\"a\""]);
    refused(&text, &[("d.zip", &zipped(&[("a/.hidden.png", &good)]))], &["no rows"]);
    let wide =
        text.replace("[2, 2], channels = 3}", "[295, 295], channels = 3}\nstreaming = false");
    let many: Vec<String> = (0..2100).map(|index| format!("a/{index}.png")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &good[..])).collect();
    refused(&wide, &[("d.zip", &zipped(&many))], &["d.zip", "bytes of memory"]);
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    })
}

fn table() -> Vec<u8> {
    let columns = [
        ("a", Column::Doubles((0..40).map(|row| (row % 7 != 3).then_some(row.into())).collect())),
        ("b", Column::Texts((0..40).map(|row| Some(["u", "v", "w"][row % 3])).collect())),
        ("kind", Column::Integers((0..40).map(|row| Some(row % 2)).collect())),
    ];
    parquet(&columns, 15, Compression::SNAPPY)
}

#[test]
fn parquet_of_the_wrong_kind_is_refused() {
    let good = table();
    let with = |keys: &str, bytes: &[u8], words: &[&str]| {
        let text = classes(2, &format!("{PARQUET}\n{keys}"));
        refused(&text, &[("d.parquet", bytes)], words);
    };
    let keys = "missing = \"mean\"\none_hot = [\"b\"]";
    let text = classes(2, &format!("{PARQUET}\n{keys}"));
    assert_eq!(check(&text, &[("d.parquet", &good)]).unwrap().features, 4);
    with("", b"", &["d.parquet", "short"]);
    with("", &[7; 100], &["d.parquet", "signature"]);
    with("", &good[..good.len() / 2], &["d.parquet", "signature"]);
    with("missing = \"mean\"", &good, &["row 0", "\"b\"", "data.one_hot"]);
    with("one_hot = [\"b\"]", &good, &["row 3", "\"a\"", "data.missing"]);
    with("features = [\"z\"]", &good, &["no column \"z\"", "a, b, kind"]);
    let mut long = good.clone();
    let end = long.len();
    long[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    with("", &long, &["footer"]);
    long[end - 8..end - 4].copy_from_slice(&1_000_000_u32.to_le_bytes());
    with("", &long, &["d.parquet"]);
}

#[test]
fn csv_rows_and_texts_have_bounds() {
    let with = |text: &str, keys: &str, words: &[&str]| {
        let job = classes(2, &format!("{CSV}\n{keys}"));
        refused(&job, &[("d.csv.gz", &gzip(text.as_bytes()))], words);
    };
    let open = format!("a,kind\n1,x\n\"{}", "0,".repeat(limits::MAX_ROW_BYTES as usize));
    with(&open, "", &["d.csv.gz line 3", "longer than", "quote"]);
    let wide = ",".repeat(limits::MAX_COLUMNS);
    with(&wide, "", &["columns", "allowed"]);
    let long = format!("a,kind\n{},x\n", "1".repeat(2000));
    with(&long, "", &["line 2", "\"a\"", "1024"]);
    let many: String = (0..=limits::MAX_CATEGORIES).map(|row| format!("t{row},x\n")).collect();
    with(&format!("a,kind\n{many}"), "one_hot = [\"a\"]", &["line 4098", "\"a\"", "4096"]);
    with("a,b,a,kind\n1,2,3,x\n", "", &["\"a\" appears twice"]);
    let packed = gzip("a,kind\n1,x\n2,y\n3,x\n4,y\n".repeat(50).as_bytes());
    let job = classes(2, CSV);
    refused(&job, &[("d.csv.gz", &packed[..packed.len() / 2])], &["d.csv.gz"]);
    refused(&job, &[("d.csv.gz", b"a,kind\n1,x\n")], &["d.csv.gz", "gzip"]);
}

/// Puts `noise` over a part of `bytes`, or cuts them there.
fn spoiled(mut bytes: Vec<u8>, at: usize, noise: &[u8]) -> Vec<u8> {
    let at = at % (bytes.len() + 1);
    if noise.is_empty() {
        bytes.truncate(at);
    } else {
        let end = (at + noise.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
    }
    bytes
}

/// Checks a job on a file; all that is asked is that it comes back.
fn looked_at(data: &str, files: Files<'_>) {
    let _ = check(&classes(2, data), files);
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        prop::collection::vec(Just(0xff_u8), 1..9),
        prop::collection::vec(Just(0_u8), 1..9),
    ]
}

proptest! {
    #[test]
    fn spoiled_parquet_never_panics(at in any::<usize>(), noise in noise()) {
        let bytes = spoiled(table(), at, &noise);
        let keys = format!("{PARQUET}\nmissing = \"zero\"\none_hot = [\"b\"]");
        looked_at(&keys, &[("d.parquet", &bytes)]);
    }

    #[test]
    fn spoiled_npz_never_panics(at in any::<usize>(), noise in noise()) {
        let x = npy("<f4", "2, 2", &floats(&[1.0, 2.0, 3.0, 4.0]));
        let bytes = zipped(&[("x.npy", &x), ("y.npy", &npy("|u1", "2,", &[0, 1]))]);
        looked_at(NPZ, &[("d.npz", &spoiled(bytes, at, &noise))]);
    }

    #[test]
    fn spoiled_idx_never_panics(at in any::<usize>(), noise in noise(), packed in any::<bool>()) {
        let bytes = idx(&[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]);
        let bytes = if packed {
            spoiled(gzip(&bytes), at, &noise)
        } else {
            gzip(&spoiled(bytes, at, &noise))
        };
        looked_at(IDX, &[("x.idx.gz", &bytes), ("y.idx", &idx(&[2], &[0, 1]))]);
    }

    #[test]
    fn spoiled_images_never_panic(at in any::<usize>(), noise in noise(), jpg in any::<bool>()) {
        let points: Vec<u8> = (0..48).collect();
        let (name, bytes) = if jpg {
            ("b/1.jpg", jpeg(4, 4, points))
        } else {
            ("b/1.png", png(4, 4, points))
        };
        let good = png(1, 1, vec![1, 2, 3]);
        let inside = spoiled(bytes.clone(), at, &noise);
        looked_at(IMAGES, &[("d.zip", &zipped(&[("a/1.png", &good), (name, &inside)]))]);
        let outside = spoiled(zipped(&[("a/1.png", &good), (name, &bytes)]), at, &noise);
        looked_at(IMAGES, &[("d.zip", &outside)]);
    }

    #[test]
    fn texts_of_any_kind_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        text in ".{0,64}",
        context in 1_u32..9,
        stride in 1_u32..9,
    ) {
        let keys = format!(
            "source = \"t.txt\"\ntext = {{context = {context}, stride = {stride}}}\n\
             test = {{fraction = 0.3}}\nvalidation = 0.3"
        );
        looked_at(&keys, &[("t.txt", &bytes)]);
        looked_at(&keys, &[("t.txt", text.as_bytes())]);
    }

    #[test]
    fn tables_of_any_kind_never_panic(text in "(a|NA|1|2\\.5|\"|,|\n|x| ){0,80}") {
        let text = format!("a,b,kind\n{text}");
        for policy in ["\"mean\"", "\"drop_row\"", "\"zero\"", "{value = 2.0}"] {
            let keys = format!(
                "source = \"d.csv\"\nlabel = \"kind\"\none_hot = [\"b\"]\nmissing = {policy}"
            );
            looked_at(&keys, &[("d.csv", text.as_bytes())]);
        }
    }

    #[test]
    fn whatever_is_a_definition_survives_json(
        context in 1_u32..100,
        stride in prop::option::of(1_u32..100),
        value in -1e6_f64..1e6,
    ) {
        let stride = stride.map_or_else(String::new, |stride| format!(", stride = {stride}"));
        for data in [
            format!("source = \"t.txt\"\ntext = {{context = {context}{stride}}}"),
            format!("source = \"d.csv\"\nlabel = \"k\"\nmissing = {{value = {value:?}}}"),
            IMAGES.to_owned(),
        ] {
            let workload: Workload = toml::from_str(&classes(2, &data)).unwrap();
            prop_assert_eq!(Workload::from_json(&workload.to_json()).unwrap(), workload);
        }
    }
}

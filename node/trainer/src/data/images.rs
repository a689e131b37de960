//! Images in the folders of an archive: PNG and JPEG files, each of the class that its folder is
//! named after, all brought to one size and to 1 or 3 channels.

mod resize;

use std::io::{Cursor, Read};
use std::path::Path;

use image::{ImageFormat, ImageReader, Limits};

use super::archive::Archive;
use super::encoding::Encoding;
use super::labels::Classes;
use super::names::NamesSink;
use super::raw::{Raw, RawTargets};
use super::rows::Features;
use super::storage::Storage;
use super::{DataError, shortened};
use crate::definition::{DataSpec, ImageSpec};
use crate::limits;

pub(super) fn load(
    spec: &DataSpec,
    labelled: bool,
    inputs: &Path,
    storage: Storage<'_>,
) -> Result<Raw, DataError> {
    let file = spec.source.as_str();
    let images = spec.images.expect("the rules ask for the size of images");
    let ImageSpec { size: [height, width], channels } = images;
    let shape = vec![channels as usize, height as usize, width as usize];
    let columns = shape.iter().product::<usize>();
    let mut archive = Archive::open(inputs, file)?;
    let mut names = archive.names()?;
    names.retain(|(name, _)| !is_hidden(name));
    if names.is_empty() {
        return Err(DataError::Empty { file: file.to_owned() });
    }
    let expected = names.len() as u64 * columns as u64;
    let mut features = storage.sink(file, Some(expected))?;
    let mut row = Vec::with_capacity(columns);
    let (mut classes, mut ids) = (Classes::default(), NamesSink::new(storage, file));
    for (name, index) in &names {
        let fault = |fault: String| {
            let entry = shortened(name);
            DataError::Entry { file: file.to_owned(), entry, fault }
        };
        if labelled {
            let class = class(name).map_err(fault)?;
            classes.push(class, file)?;
        } else {
            ids.push(name)?;
        }
        let format = format(name).map_err(fault)?;
        let mut bytes = Vec::new();
        let limit = limits::MAX_IMAGE_BYTES;
        let (entry, _) = archive.entry(*index)?;
        let read = entry.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| fault(format!("cannot be unpacked: {error}")))?;
        if bytes.len() as u64 > limit {
            return Err(fault(format!("unpacks to more than {limit} bytes")));
        }
        row.clear();
        decode(&bytes, format, images, &mut row).map_err(fault)?;
        features.push(&row)?;
    }
    Ok(Raw {
        file: file.to_owned(),
        label_file: file.to_owned(),
        shape,
        features: Features::new(features.finish()?, columns, names.len()),
        columns: Vec::new(),
        encoding: Some(Encoding::Images { channels, height, width }),
        targets: if labelled { RawTargets::Classes(classes) } else { super::no_targets() },
        ids: ids.finish()?,
    })
}

/// What archivers put beside the files they were given.
fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX")
}

/// The folder that an image lies in.
fn class(name: &str) -> Result<&str, String> {
    let mut parts = name.rsplit('/');
    let class = parts.nth(1).map(str::trim).filter(|class| !class.is_empty());
    let class = class.ok_or("lies in no folder; a folder's name is the class of its images")?;
    if class.len() > limits::MAX_FIELD_BYTES {
        return Err("lies in a folder whose name is too long".to_owned());
    }
    Ok(class)
}

fn format(name: &str) -> Result<ImageFormat, String> {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "png" => Ok(ImageFormat::Png),
        "jpg" | "jpeg" => Ok(ImageFormat::Jpeg),
        _ => Err("is neither .png nor .jpg; convert or remove it".to_owned()),
    }
}

/// Appends an image, channel by channel, to `features`.
fn decode(
    bytes: &[u8],
    format: ImageFormat,
    spec: ImageSpec,
    features: &mut Vec<f32>,
) -> Result<(), String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(limits::MAX_IMAGE_SIDE);
    limits.max_image_height = Some(limits::MAX_IMAGE_SIDE);
    limits.max_alloc = Some(limits::MAX_IMAGE_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| format!("cannot be decoded: {error}"))?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels = match spec.channels {
        1 => image.into_luma8().into_raw(),
        _ => image.into_rgb8().into_raw(),
    };
    let (channels, size) = (spec.channels as usize, spec.size.map(|side| side as usize));
    for channel in 0..channels {
        let plane: Vec<u8> = pixels.iter().skip(channel).step_by(channels).copied().collect();
        resize::append(&plane, [height, width], size, features);
    }
    Ok(())
}

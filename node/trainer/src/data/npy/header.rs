//! The text in front of an NPY array: a Python dictionary of three keys, and nothing else that
//! Python could write.

use crate::data::ArrayFault;

#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) descr: String,
    pub(super) fortran: bool,
    pub(super) shape: Vec<u64>,
}

/// Reads the Python dictionary of three keys that the header is.
pub(super) fn parse(text: &str) -> Result<Header, ArrayFault> {
    let mut rest = Tokens(text);
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    rest.expect("{")?;
    while !rest.skip("}") {
        let key = rest.string()?;
        rest.expect(":")?;
        match key {
            "descr" => descr = Some(rest.descr()?),
            "fortran_order" => fortran = Some(rest.boolean()?),
            "shape" => shape = Some(rest.tuple()?),
            _ => return Err(ArrayFault::Header),
        }
        if !rest.skip(",") {
            rest.expect("}")?;
            break;
        }
    }
    match (descr, fortran, shape) {
        (Some(descr), Some(fortran), Some(shape)) if rest.0.trim().is_empty() => {
            Ok(Header { descr, fortran, shape })
        }
        _ => Err(ArrayFault::Header),
    }
}

/// What is left of a header.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn skip(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), ArrayFault> {
        if self.skip(token) { Ok(()) } else { Err(ArrayFault::Header) }
    }

    fn string(&mut self) -> Result<&'a str, ArrayFault> {
        let quote = if self.skip("'") {
            '\''
        } else {
            self.expect("\"")?;
            '"'
        };
        let (text, rest) = self.0.split_once(quote).ok_or(ArrayFault::Header)?;
        self.0 = rest;
        Ok(text)
    }

    /// A list instead of a string is a structured array.
    fn descr(&mut self) -> Result<String, ArrayFault> {
        if self.skip("[") {
            return Err(ArrayFault::Type("structured".to_owned()));
        }
        self.string().map(str::to_owned)
    }

    fn boolean(&mut self) -> Result<bool, ArrayFault> {
        if self.skip("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn tuple(&mut self) -> Result<Vec<u64>, ArrayFault> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while !self.skip(")") {
            self.0 = self.0.trim_start();
            let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
            let (digits, rest) = self.0.split_at(end);
            sizes.push(digits.parse().map_err(|_: std::num::ParseIntError| ArrayFault::Header)?);
            self.0 = rest;
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }
}

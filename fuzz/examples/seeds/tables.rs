//! Seeds of tables.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{below, root, write};

/// The first rows of a table of the examples, its target called `y`.
fn table(path: &str, target: &str) -> String {
    let text = fs::read_to_string(root().join("..").join(path)).expect("a table of the examples");
    let rows: Vec<&str> = text.lines().take(5).collect();
    rows.join("\n").replacen(target, "y", 1) + "\n"
}

/// Choices: missing values, delimiter, quote, header, kind, missing, scale, test.
pub(crate) fn csv() {
    write(
        "csv",
        [
            below("00000000", table("examples/boston/train.csv", "medv")),
            below("00000010", table("examples/boston/housing.csv", "medv")),
            below("00000001", "a,b,y\n1,2,3\n4,5,6\n7,8,9\n10,11,12\n"),
            below("00001000", "a,y\n1,yes\n2,no\n3,\"yes\"\n"),
            below("00002000", "a;b;y\r\n1,5;2;10\r\n\r\n2;2;9\r\n3;4;\"a\"\"\nb\"\r\n"),
            below("00003120", "a\tb\ty\n1\tNA\tTrue\n\t2\tFalse\n"),
            below("03110000", "'1'|2|-\n3|4|5\n"),
            below("10000220", "\u{feff} a , y ,\"b,c\"\n1,-9,x\n2,3,4\n5,6,7\n"),
            below("02200030", "\"a;y\n1;2\n-1e-3;+4.\n"),
            below("00000000", "a,y\r1,2\r16777217,0.1\r"),
        ],
    );
}

fn idx_file(code: u8, dimensions: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, code, dimensions.len() as u8];
    dimensions.iter().for_each(|dimension| file.extend(dimension.to_be_bytes()));
    file.extend(bytes);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).expect("memory is writable");
    packed.finish().expect("memory is writable")
}

fn two(choices: &str, first: &[u8], second: &[u8]) -> Vec<u8> {
    below(choices, [first, b"\n----\n", second].concat())
}

/// Choices: kind, missing, scale.
pub(crate) fn idx() {
    let images = idx_file(8, &[3, 1, 2], &[0, 255, 51, 0, 102, 204]);
    let labels = idx_file(8, &[3], &[7, 3, 7]);
    let floats: Vec<u8> = [0.5_f32, -1.0, 3e8].iter().flat_map(|v| v.to_be_bytes()).collect();
    let doubles: Vec<u8> = [0.1_f64, 2.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    write(
        "idx",
        [
            two("103", &images, &labels),
            two("001", &images, &labels),
            two("103", &gzip(&images), &gzip(&labels)),
            two(
                "002",
                &idx_file(13, &[3, 1], &floats),
                &idx_file(11, &[3], &[0, 1, 255, 254, 0, 9]),
            ),
            two("100", &idx_file(14, &[2, 1], &doubles), &idx_file(9, &[2], &[1, 255])),
            two(
                "300",
                &idx_file(12, &[2, 1], &[0, 0, 0, 1, 127, 255, 255, 255]),
                &idx_file(8, &[2], &[0, 1]),
            ),
        ],
    );
}

pub(crate) fn npy_file(
    version: u8,
    descr: &str,
    order: &str,
    shape: &str,
    bytes: &[u8],
) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut file = [&b"\x93NUMPY"[..], &[version, 0]].concat();
    match version {
        1 => file.extend((text.len() as u16).to_le_bytes()),
        _ => file.extend((text.len() as u32).to_le_bytes()),
    }
    [&file[..], text.as_bytes(), bytes].concat()
}

/// Choices: kind, target, missing, scale.
pub(crate) fn npy() {
    let doubles = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let six = doubles(&[1.5, 0.1, -2.0, f64::NAN, 1e10 / 3.0, 3.0]);
    let record =
        [&1.5_f32.to_le_bytes()[..], &[1], b"ab\0", &2.5_f32.to_le_bytes(), &[0], b"b\0\0"]
            .concat();
    let images = npy_file(1, "'|u1'", "False", "(2, 1, 2)", &[0, 255, 51, 102]);
    write(
        "npy",
        [
            below("0011", npy_file(1, "'<f8'", "False", "(2, 3)", &six)),
            below("0020", npy_file(2, "'<f8'", "True", "(3, 2)", &six)),
            below("0001", npy_file(3, "'>i2'", "False", "(2, 2)", &[0, 1, 0, 2, 255, 255, 0, 4])),
            below(
                "1100",
                npy_file(1, "[('a', '<f4'), ('b', '|b1'), ('y', '|S3')]", "False", "(2,)", &record),
            ),
            below(
                "3100",
                npy_file(1, "[('a', '<f4'), ('y', '|b1'), ('', '|V3')]", "False", "(2,)", &record),
            ),
            two(
                "1000",
                &images,
                &npy_file(1, "'<U1'", "False", "(2,)", &[97, 0, 0, 0, 98, 0, 0, 0]),
            ),
            two("0000", &images, &npy_file(1, "'<f2'", "False", "(2, 1)", &[0, 60, 0, 64])),
            two("0003", &gzip(&images), &npy_file(1, "'<u8'", "False", "(2,)", &[7; 16])),
        ],
    );
}

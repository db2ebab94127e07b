//! NPY files that cannot be used: what is said of each, and that no damage does more.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep_data::{TableFile, TableSpec};

use crate::load;
use crate::npy::{NUMBERS, TWO_CLASSES, alone, files, floats, gzip, npy, of_pair};

/// The error of these files as a pair.
#[track_caller]
fn check(x: &[u8], y: &[u8], wanted: &str) {
    let files = files(&[("x.npy", x.to_vec()), ("y.npy", y.to_vec())]);
    match load(&of_pair(&files), NUMBERS, 1) {
        Ok(data) => panic!("loaded as {:?}, wanted {wanted:?}", data.train),
        Err(error) => {
            let found = files.message(&error);
            assert!(found.starts_with(wanted), "{found}");
        }
    }
}

#[test]
fn files_that_cannot_be_used() {
    let x = floats("(2, 1)", &[1.0, 2.0]);
    let y = floats("(2,)", &[1.0, 2.0]);
    let with = |descr: &str, shape: &str, bytes: &[u8]| npy(descr, "False", shape, bytes);
    let wanted = "x.npy: found 61 2c 62 0a 31 at its beginning, wanted an NPY file, as numpy.save writes it, which begins \
                  with 93 4e 55 4d 50 59; give a file of another format another name";
    check(b"a,b\n1", &y, wanted);
    check(&with("'|O'", "(2,)", b"pickle"), &y, "x.npy: found dtype \"|O\", objects of Python");
    check(&with("'<c16'", "(2,)", &[0; 32]), &y, "x.npy: found dtype \"<c16\", wanted floats");
    let times = with("[('a', '<f4'), ('when', '<m8[ns]')]", "(2,)", &[0; 24]);
    check(&times, &y, "x.npy: field \"when\": found dtype \"<m8[ns]\", wanted floats");
    check(&with("'<f8'", "()", &[0; 8]), &y, "x.npy: found a single value, wanted an array");
    check(&with("'<f8'", "(0, 2)", &[]), &y, "x.npy: the header says 0 x 2 of 8 bytes each: there");
    check(&with("'<U0'", "(2,)", &[]), &y, "x.npy: the header says 2 of 0 bytes each: there is");
    check(&with("[('a', '<f4')]", "(1, 2)", &[0; 8]), &y, "x.npy: found 2 dimensions of records");
    check(&with("[('', '|V4')]", "(2,)", &[0; 8]), &y, "x.npy: found no column, wanted at least");
    let wide = with("'|i1'", "(1, 65537)", &[0; 65_537]);
    check(&wide, &y, "x.npy: found 65537 columns, wanted at most 65536");
    check(
        &x,
        &floats("(3,)", &[1.0; 3]),
        "y.npy: found 3 rows, wanted one for each of the 2 rows in x.npy; give two files of one set",
    );
    check(&x, &floats("(2, 2, 2)", &[1.0; 8]), "y.npy: found rows of 2 x 2, wanted one target");
    let infinite = floats("(2,)", &[1.0, f64::NEG_INFINITY]);
    check(&x, &infinite, "y.npy: element [1]: found \"-inf\", wanted a finite number");
    let large = floats("(2, 1)", &[1.0, 1e39]);
    check(&large, &y, "x.npy: element [1, 0]: found \"1e39\", wanted a number up to");
    let texts = with("'|S1'", "(2,)", b"ab");
    check(&x, &texts, "y.npy: element [0]: found \"a\", wanted a number");
    let (short, long) = (&x[..x.len() - 1], [&x[..], b"x"].concat());
    check(short, &y, "x.npy: the header says 2 x 1 of 8 bytes each, but there are only 15 bytes");
    check(&long, &y, "x.npy: the header says 2 x 1 of 8 bytes each, but the file goes on after");
    check(&gzip(short), &y, "x.npy: the header says 2 x 1 of 8 bytes each, but there are only 15");
    check(&gzip(&x)[..40], &y, "x.npy: its gzip data are damaged or cut short");
    for shape in ["(18446744073709551615, 2)", "(1099511627776, 1024)", "(4294967296,)"] {
        for bytes in [with("'<f8'", shape, &[0; 8]), gzip(&with("'<f8'", shape, &[0; 8]))] {
            check(&bytes, &y, "x.npy: the header says ");
        }
    }
}

#[test]
fn files_of_another_name() {
    let files =
        files(&[("t.csv", floats("(2, 1)", &[1.0, 2.0])), ("z.csv", b"PK\x03\x04aa".to_vec())]);
    let message = |name: &str| files.message(&load(&files.spec(name), NUMBERS, 1).unwrap_err());
    assert_eq!(
        message("t.csv"),
        "t.csv: found an NPY file, wanted a CSV file; give it a name that ends in .npy"
    );
    assert_eq!(
        message("z.csv"),
        "z.csv: found a zip file, wanted a CSV file; give an NPZ file a name that ends in .npz, and unpack others"
    );
    // Used on a model, a file is what it begins like.
    let message = |name: &str| {
        let train = TableFile::guess(files.path(name), None);
        let spec = TableSpec { train, ..files.spec(name) };
        files.message(&load(&spec, NUMBERS, 1).unwrap_err())
    };
    assert!(message("t.csv").starts_with("t.csv: found no column \"y\", wanted by `data.target`"));
    assert!(message("z.csv").starts_with("z.csv: its zip data are damaged or cut short"));
}

#[test]
fn no_damage_is_more_than_an_error() {
    let fields = "[('a', '<f4'), ('b', '|S2'), ('c', '<U1'), ('y', '>i2')]";
    let record: Vec<u8> = (0..2)
        .flat_map(|row| [&1.5_f32.to_le_bytes()[..], b"1\0", &[0x32, 0, 0, 0], &[0, row]].concat())
        .collect();
    let files = files(&[]);
    let read = |bytes: &[u8]| {
        fs::write(files.path("t.npy"), bytes).unwrap();
        for kind in [NUMBERS, TWO_CLASSES] {
            let spec = alone(&files, "y");
            let loaded = catch_unwind(AssertUnwindSafe(|| load(&spec, kind, 1).is_ok()));
            assert!(loaded.is_ok(), "panicked: {:?}", String::from_utf8_lossy(bytes));
        }
    };
    for whole in [
        npy(fields, "False", "(2,)", &record),
        npy("'<f8'", "True", "(2, 2)", &[0; 32]),
        gzip(&npy(fields, "False", "(2,)", &record)),
    ] {
        for end in 0..whole.len() {
            read(&whole[..end]);
        }
        for at in 0..whole.len() {
            for change in [1, 0x10, 0x80, 0xff] {
                let mut altered = whole.clone();
                altered[at] ^= change;
                read(&altered);
            }
            let mut altered = whole.clone();
            altered[at] = b'9';
            read(&altered);
        }
    }
}

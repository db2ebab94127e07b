//! Names, places and chunks of layouts.

use super::*;

fn layout(widths: &[usize]) -> Layout {
    let layers: Vec<_> = widths.windows(2).map(|w| dense(w[0], w[1])).collect();
    Layout::new(&layers)
}

fn dense(inputs: usize, units: usize) -> Vec<TensorShape> {
    vec![TensorShape::new("kernel", [inputs, units]), TensorShape::new("bias", [units])]
}

/// Wherever they are put, large layers or small ones around them: nothing that is sent, added or named changes, but for
/// the count in the names.
#[test]
fn layers_without_tensors_belong_to_no_chunk() {
    let widths = [4096, 512, 3, 3, 3, 700, 2];
    let plain = layout(&widths);
    let layers: Vec<_> = widths.windows(2).map(|w| dense(w[0], w[1])).collect();
    for set in 1u32..1 << 7 {
        let mut mixed = Vec::new();
        let mut place = Vec::new();
        for at in 0..7 {
            if set >> at & 1 == 1 {
                mixed.push(Vec::new());
            }
            place.push(mixed.len());
            mixed.extend(layers.get(at).cloned());
        }
        let layout = Layout::new(&mixed);
        assert_eq!(layout.len(), plain.len());
        assert_eq!(layout.layers().len(), mixed.len());
        assert_eq!(layout.norm_blocks(), plain.norm_blocks());
        assert_eq!(layout.chunks().len(), plain.chunks().len());
        for (chunk, wanted) in layout.chunks().iter().zip(plain.chunks()) {
            assert_eq!(chunk.range, wanted.range);
            assert_eq!(chunk.layers.start, place[wanted.layers.start], "{set:b}");
            assert_eq!(chunk.layers.end, place[wanted.layers.end - 1] + 1, "{set:b}");
        }
        for (at, &layer) in place[..6].iter().enumerate() {
            assert_eq!(layout.chunks_of(layer), plain.chunks_of(at));
            assert_eq!(layout.tensors()[2 * at].name, format!("layers.{layer}.kernel"));
            assert_eq!(layout.tensors()[2 * at].range, plain.tensors()[2 * at].range);
        }
    }
}

/// They are a layer like any other, but for the names.
#[test]
fn tensors_of_inputs_come_before_the_layers() {
    let embedding =
        |column: &str, rows| TensorShape::new(format!("{column}.embedding"), [rows, 3usize]);
    for rows in [4, 100_000] {
        let inputs = [embedding("color", rows), embedding("a.b", 2)];
        let layers = [dense(9, 500), Vec::new(), dense(500, 1)];
        let layout = Layout::with_inputs(&inputs, &layers);
        let mut all = vec![inputs.to_vec()];
        all.extend(layers);
        let same = Layout::new(&all);
        assert_eq!(layout.layers(), same.layers());
        assert_eq!(layout.chunks(), same.chunks());
        assert_eq!(layout.norm_blocks(), same.norm_blocks());
        assert_eq!(layout.clone().in_chunks_of(7).chunks(), same.clone().in_chunks_of(7).chunks());
        let names: Vec<&str> = layout.tensors().iter().map(|tensor| &*tensor.name).collect();
        assert_eq!(names[..2], ["inputs.color.embedding", "inputs.a.b.embedding"]);
        assert_eq!(names[2..4], ["layers.0.kernel", "layers.0.bias"]);
        assert_eq!(names[4..], ["layers.2.kernel", "layers.2.bias"]);
        let called: Vec<String> = (0..4).map(|layer| layout.layer_name(layer)).collect();
        assert_eq!(called, ["the embeddings", "layer 0", "layer 1", "layer 2"]);
        assert_eq!(same.layer_name(0), "layer 0");
    }
}

/// They lengthen frames up to the limit of any chunk, and change neither places nor the blocks of the norm.
#[test]
fn row_squares_are_of_the_inputs_tensors_alone() {
    for rows in [4, 20_000, 100_000] {
        let inputs = [TensorShape::new("color.embedding", [rows, 3usize])];
        let layers = [dense(9, 500), Vec::new(), dense(500, 1)];
        let plain = Layout::with_inputs(&inputs, &layers);
        assert_eq!(plain.clone().with_row_squares(false), plain);
        assert_eq!((plain.sums_len(), plain.has_row_squares()), (plain.len(), false));
        for cut in [CHUNK_VALUES_MAX, 7, 1] {
            let plain = plain.clone().in_chunks_of(cut);
            let layout = plain.clone().with_row_squares(true);
            assert_eq!(plain.clone().with_row_squares(true).in_chunks_of(cut), layout);
            assert_eq!((layout.layers(), layout.tensors()), (plain.layers(), plain.tensors()));
            assert_eq!(layout.sums_len(), layout.len() + 3 * rows);
            let of_layers = [0, 1, 2, 3].map(|layer| layout.squared_of(layer));
            assert_eq!(of_layers, [3 * rows, 0, 0, 0]);
            let chunks = layout.chunks();
            assert!(chunks.iter().all(|chunk| chunk.sums_len() <= cut.max(2)));
            for chunk in chunks {
                let inside = chunk.range.start..chunk.range.end.min(3 * rows);
                assert_eq!(chunk.squared, inside.len(), "{chunk:?}");
            }
            let sums: usize = chunks.iter().map(ChunkRange::sums_len).sum();
            assert_eq!(sums, layout.sums_len());
            let ends = |layout: &Layout| -> Vec<usize> {
                let blocks = layout.norm_blocks().into_iter();
                blocks.map(|block| layout.chunks()[block.end - 1].range.end).collect()
            };
            if cut == CHUNK_VALUES_MAX {
                assert_eq!(ends(&layout), ends(&plain));
            }
        }
    }
    let without = Layout::new(&[dense(3, 2)]);
    assert_eq!(without.clone().with_row_squares(true), without);
}

#[test]
fn no_chunk_has_values_of_frozen_layers_and_others() {
    let widths = [13, 10, 7, 500, 300, 2];
    let plain = layout(&widths);
    assert_eq!(plain.clone().freezing(vec![false; 5]), plain);
    let layout = plain.clone().freezing(vec![true, false, false, true, false]);
    assert_eq!((layout.layers(), layout.tensors()), (plain.layers(), plain.tensors()));
    let layers = layout.layers();
    let frozen = |chunk: &ChunkRange| chunk.layers.clone().map(|layer| layout.is_frozen(layer));
    for chunk in layout.chunks() {
        assert!(frozen(chunk).all(|frozen| frozen == chunk.is_frozen), "{chunk:?}");
    }
    let places = layout.chunks().iter().map(|chunk| chunk.layers.clone());
    assert_eq!(places.collect::<Vec<_>>(), [0..1, 1..3, 3..4, 3..4, 3..4, 4..5]);
    let trained: Vec<f32> = (0..layout.len()).map(|place| place as f32).collect();
    let trained = layout.trained_of(&trained);
    assert_eq!(trained.len(), layout.trained_len());
    assert_eq!(trained.len(), layers[1].len() + layers[2].len() + layers[4].len());
    assert_eq!(trained[0], layers[1].start as f32);
    assert_eq!(trained.last(), Some(&((layout.len() - 1) as f32)));
}

#[test]
fn layers_inside_others_are_named_by_both() {
    let layers = [dense(3, 4), dense(4, 4), Vec::new(), dense(4, 1)];
    let plain = Layout::new(&layers);
    let layout = plain.clone().in_places(vec![vec![0], vec![1, 0], vec![1], vec![2]]);
    let names: Vec<&str> = layout.tensors().iter().map(|tensor| &*tensor.name).collect();
    assert_eq!(names[..2], ["layers.0.kernel", "layers.0.bias"]);
    assert_eq!(names[2..4], ["layers.1.layers.0.kernel", "layers.1.layers.0.bias"]);
    assert_eq!(names[4..], ["layers.2.kernel", "layers.2.bias"]);
    let called: Vec<String> = (0..4).map(|layer| layout.layer_name(layer)).collect();
    assert_eq!(called, ["layer 0", "layer 1.0", "layer 1", "layer 2"]);
    assert_eq!(layout.chunks(), plain.chunks());
    assert_eq!(plain.clone().in_places((0..4).map(|at| vec![at]).collect()), plain);
}

#[test]
fn boston_is_one_chunk() {
    let layout = layout(&[13, 10, 1]);
    assert_eq!(layout.len(), 151);
    let chunk =
        ChunkRange { range: 0..151, layers: 0..2, squared: 0, is_frozen: false, momentum: None };
    assert_eq!(layout.chunks(), [chunk]);
    assert_eq!(layout.tensors()[3].name, "layers.1.bias");
    assert_eq!(layout.tensors()[3].range, 150..151);
}

#[test]
fn chunks_tile_the_vector_and_hold_one_large_layer_or_whole_small_ones() {
    for widths in [&[784, 512, 512, 10][..], &[13, 10, 1], &[1, 1], &[4096, 512, 3, 3, 3, 700, 2]] {
        let layout = layout(widths);
        let mut at = 0;
        for chunk in layout.chunks() {
            assert_eq!(chunk.range.start, at);
            assert!(chunk.range.len() <= CHUNK_VALUES_MAX && !chunk.range.is_empty());
            if chunk.layers.len() > 1 {
                let whole = layout.layers()[chunk.layers.start].start
                    ..layout.layers()[chunk.layers.end - 1].end;
                assert_eq!(chunk.range, whole);
            }
            at = chunk.range.end;
        }
        assert_eq!(at, layout.len());
    }
}

#[test]
fn chunks_can_be_cut_smaller() {
    let cut = layout(&[3, 4, 1]).in_chunks_of(6);
    let ranges: Vec<_> = cut.chunks().iter().map(|chunk| chunk.range.clone()).collect();
    assert_eq!(ranges, [0..6, 6..12, 12..16, 16..21]);
    assert_eq!(cut.norm_blocks(), [0..3, 3..4], "whatever the chunks are");
}

#[test]
fn blocks_of_the_norm_are_whole_chunks_of_a_layer_or_of_small_ones() {
    let layout = layout(&[784, 512, 512, 10]);
    let ends =
        layout.norm_blocks().into_iter().map(|block| layout.chunks()[block.end - 1].range.end);
    let ends: Vec<usize> = ends.collect();
    let first = 784 * 512 + 512;
    let second = first + 512 * 512 + 512;
    assert_eq!(ends, [1 << 18, first, first + (1 << 18), second, second + 512 * 10 + 10]);
    assert_eq!(self::layout(&[13, 10, 1]).norm_blocks().len(), 1);
}

/// Whatever is added up in a fixed order, block by block, is of the same values.
#[test]
fn chunks_to_spread_are_shorter_and_blocks_of_the_norm_hold_the_same() {
    for (widths, chunks, values_max) in [
        (&[13, 10, 1][..], 1, 1 << 14),
        (&[784, 512, 512, 10], 43, 1 << 14),
        (&[784, 2048, 512, 10], 84, 1 << 15),
        (&[784, 2048, 2048, 2048, 10], 156, 1 << 16),
    ] {
        let plain = layout(widths);
        let spread = plain.clone().to_spread();
        assert_eq!((spread.chunks().len(), spread.chunk_values_max()), (chunks, values_max));
        assert!(chunk_values_may_be(values_max));
        let blocks = |layout: &Layout| -> Vec<Range<usize>> {
            let chunks = layout.chunks();
            let of = |block: Range<usize>| {
                chunks[block.start].range.start..chunks[block.end - 1].range.end
            };
            layout.norm_blocks().into_iter().map(of).collect()
        };
        assert_eq!(blocks(&spread), blocks(&plain));
    }
}

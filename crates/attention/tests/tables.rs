//! Tables of positions and embedding look-up.

use kernform_attention::positions::{LARGEST_POSITION, PositionError, SinusoidalLayout, sinusoidal};
use kernform_attention::{EmbeddingError, embed, embed_at};
use kernform_simd::Isa;
use kernform_testkit::{assert_same_bits, isa_tests};

fn table(layout: SinusoidalLayout, width: usize, first: usize, rows: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * width];
    sinusoidal(layout, width, first, &mut out).unwrap();
    out
}

#[test]
fn sines_and_cosines_stand_where_the_layouts_say() {
    for width in [1usize, 2, 5, 8, 33, 128] {
        let interleaved = table(SinusoidalLayout::Interleaved, width, 3, 70);
        let halves = table(SinusoidalLayout::Halves, width, 3, 70);
        let sines = width.div_ceil(2);
        for row in 0..70 {
            for i in 0..width {
                let angle = (row + 3) as f64 / 10_000f64.powf((i / 2 * 2) as f64 / width as f64);
                let truth = if i % 2 == 0 { angle.sin() } else { angle.cos() };
                let here = interleaved[row * width + i];
                assert!((f64::from(here) - truth).abs() <= 2f64.powi(-25) + 1e-12, "{width} {row} {i}");
                let there = halves[row * width + i / 2 + if i % 2 == 0 { 0 } else { sines }];
                assert_eq!(here.to_bits(), there.to_bits(), "{width} {row} {i}");
            }
        }
    }
}

#[test]
fn fairseq_tables_have_their_own_frequencies_and_a_row_of_padding() {
    for width in [2usize, 3, 32, 33] {
        let half = width / 2;
        let rows = table(SinusoidalLayout::Fairseq { padding: Some(1) }, width, 0, 40);
        for (position, row) in rows.chunks(width).enumerate() {
            if position == 1 {
                assert!(row.iter().all(|x| *x == 0.0));
                continue;
            }
            for i in 0..half {
                let frequency = (-(i as f64) * 10_000f64.ln() / (half.max(2) - 1) as f64).exp();
                let angle = position as f64 * frequency;
                // Three roundings of the angle, the exponent's being multiplied by up to ln(10000).
                let bound = angle * 12.0 * 2f64.powi(-24) + 2f64.powi(-25);
                assert!((f64::from(row[i]) - angle.sin()).abs() <= bound);
                assert!((f64::from(row[half + i]) - angle.cos()).abs() <= bound);
            }
            assert!(row[2 * half..].iter().all(|x| *x == 0.0));
        }
    }
}

#[test]
fn a_part_of_a_table_is_the_same_as_the_table() {
    for layout in
        [SinusoidalLayout::Interleaved, SinusoidalLayout::Halves, SinusoidalLayout::Fairseq { padding: Some(7) }]
    {
        let all = table(layout, 10, 0, 30);
        assert_same_bits("part", &table(layout, 10, 5, 12), &all[50..170]);
    }
}

#[test]
fn positions_out_of_range_are_refused() {
    let layout = SinusoidalLayout::Halves;
    assert_eq!(sinusoidal(layout, 0, 0, &mut []), Err(PositionError::Table { len: 0, width: 0 }));
    assert_eq!(sinusoidal(layout, 4, 0, &mut [0.0; 6]), Err(PositionError::Table { len: 6, width: 4 }));
    assert_eq!(
        sinusoidal(layout, 2, LARGEST_POSITION, &mut [0.0; 4]),
        Err(PositionError::Position { position: LARGEST_POSITION + 1, largest: LARGEST_POSITION })
    );
    assert!(sinusoidal(layout, 2, usize::MAX, &mut [0.0; 4]).is_err());
}

fn rows_are_scaled_and_then_moved(isa: Isa) {
    for width in [1, 7, 16, 33] {
        let table: Vec<f32> = (0..5 * width).map(|i| (i as f32 * 0.37).sin()).collect();
        let positions: Vec<f32> = (0..4 * width).map(|i| (i as f32 * 0.11).cos()).collect();
        let (ids, at) = ([4, 0, 0, 3], [0, 1, 0, 1]);
        let mut out = vec![f32::NAN; 4 * width];
        embed(isa, &table, width, &ids, 1.7, &mut out).unwrap();
        let expected = |t: usize, i: usize| table[ids[t] as usize * width + i] * 1.7;
        let plain: Vec<f32> = (0..4 * width).map(|n| expected(n / width, n % width)).collect();
        assert_same_bits("embed", &out, &plain);
        embed_at(isa, &table, width, &ids, 1.7, &positions, &at, 2, &mut out).unwrap();
        let moved: Vec<f32> = (0..4 * width)
            .map(|n| expected(n / width, n % width) + positions[(at[n / width] + 2) * width + n % width])
            .collect();
        assert_same_bits("embed_at", &out, &moved);
    }
}

isa_tests!(rows_are_scaled_and_then_moved);

#[test]
fn hostile_ids_and_positions_are_named() {
    let isa = Isa::best();
    let (table, mut out) = ([1.0; 6], [0.0; 4]);
    assert_eq!(
        embed(isa, &table, 2, &[2, 3], 1.0, &mut out),
        Err(EmbeddingError::Token { index: 1, id: 3, vocabulary: 3 })
    );
    assert_eq!(
        embed(isa, &table, 2, &[u32::MAX, 0], 1.0, &mut out),
        Err(EmbeddingError::Token { index: 0, id: u32::MAX, vocabulary: 3 })
    );
    assert_eq!(embed(isa, &table, 4, &[0], 1.0, &mut out), Err(EmbeddingError::Table { len: 6, width: 4 }));
    assert_eq!(embed(isa, &table, 0, &[0], 1.0, &mut out), Err(EmbeddingError::Table { len: 6, width: 0 }));
    assert_eq!(embed(isa, &table, 2, &[0], 1.0, &mut out), Err(EmbeddingError::Length { needed: 2, len: 4 }));
    assert_eq!(
        embed_at(isa, &table, 2, &[0, 1], 1.0, &table, &[0, 1], 2, &mut out),
        Err(EmbeddingError::Position { index: 1, position: 3, rows: 3 })
    );
    assert_eq!(
        embed_at(isa, &table, 2, &[0, 1], 1.0, &table, &[0, usize::MAX], 2, &mut out),
        Err(EmbeddingError::Position { index: 1, position: usize::MAX, rows: 3 })
    );
    assert_eq!(
        embed_at(isa, &table, 2, &[0, 1], 1.0, &table, &[0], 0, &mut out),
        Err(EmbeddingError::Length { needed: 2, len: 1 })
    );
    assert_eq!(out, [0.0; 4], "nothing is written on an error");
}

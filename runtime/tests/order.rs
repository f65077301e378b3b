//! The order of equal elements, against what PyTorch 2.15 gives on a CPU.

use exported_runtime::kernels::sort::{Method, Sort, TopK, is_by_heap};
use exported_runtime::{Level, dispatch};

/// A call of torch, and what to look at.
enum Asked {
    /// `torch.sort(x, descending=..).indices`.
    Sort(bool),
    /// `torch.topk(x, k, largest=.., sorted=..).indices`.
    TopK(usize, bool, bool),
    /// `torch.kthvalue(x, k).indices`, itself.
    Kth(usize),
}

fn pattern(n: i64) -> Vec<i64> {
    (0..n).map(|i| (i * i * 7 + i * 3) % 11 % 4).collect()
}

/// Makes `std::sort` give up on partitioning, with ties.
fn killer(n: i64) -> Vec<i64> {
    let half = n / 2;
    let first = (0..half).map(|i| if i % 2 == 0 { i + 1 } else { half + i + 1 });
    first.chain((1..=half).map(|i| 2 * i)).map(|v| v / 3).collect()
}

fn answer(x: &[i64], asked: &Asked) -> Vec<i64> {
    let n = x.len();
    let k = if let Asked::TopK(k, ..) = *asked { k } else { n };
    let (mut values, mut indices) = (vec![0; k], vec![0; k]);
    let level = Level::detect();
    let mut sorted = |descending, method| {
        let (values, indices) = (&mut values[..], &mut indices[..]);
        dispatch(level, Sort { x, values, indices, rows: 1, n, descending, method });
    };
    match *asked {
        Asked::Sort(descending) => sorted(descending, Method::Std),
        Asked::Kth(k) => sorted(false, Method::Select(k - 1)),
        Asked::TopK(k, largest, sorted) => {
            let mut scratch = vec![0; if is_by_heap(n, k) { 0 } else { n }];
            let (values, indices, scratch) = (&mut values[..], &mut indices[..], &mut scratch[..]);
            dispatch(level, TopK { x, values, indices, scratch, rows: 1, n, k, largest, sorted });
        }
    }
    assert!(indices.iter().zip(&values).all(|(&i, &v)| x[i as usize] == v), "values are those at the positions");
    if let Asked::Kth(k) = asked { vec![indices[k - 1]] } else { indices }
}

/// Answers of torch; of more than one index, `fold(0, |h, i| h * 31 + i + 1)`.
fn table() -> Vec<(Vec<i64>, Asked, u64)> {
    vec![
        (pattern(70), Asked::Sort(false), 11540878151612787075),
        (pattern(70), Asked::Sort(true), 8407847895116796591),
        (pattern(70), Asked::TopK(1, true, true), 5),
        (pattern(70), Asked::TopK(1, false, false), 1),
        (pattern(70), Asked::TopK(5, true, true), 37522799),
        (pattern(70), Asked::TopK(5, false, false), 53379760),
        (pattern(70), Asked::TopK(35, true, true), 11185488605968353799),
        (pattern(70), Asked::TopK(35, false, false), 2882938157985679112),
        (pattern(70), Asked::TopK(70, true, true), 12353976267112424513),
        (pattern(70), Asked::TopK(70, false, false), 9779982726049991983),
        (pattern(70), Asked::Kth(1), 55),
        (pattern(70), Asked::Kth(23), 7),
        (pattern(70), Asked::Kth(70), 15),
        (pattern(1000), Asked::Sort(false), 10090598224328662742),
        (pattern(1000), Asked::Sort(true), 14880179863464623192),
        (pattern(1000), Asked::TopK(1, true, true), 5),
        (pattern(1000), Asked::TopK(1, false, false), 1),
        (pattern(1000), Asked::TopK(5, true, true), 14942471),
        (pattern(1000), Asked::TopK(5, false, false), 9277195),
        (pattern(1000), Asked::TopK(500, true, true), 15310210942901090401),
        (pattern(1000), Asked::TopK(500, false, false), 1510401847193682565),
        (pattern(1000), Asked::TopK(1000, true, true), 5361000733068192178),
        (pattern(1000), Asked::TopK(1000, false, false), 59282887431443158),
        (pattern(1000), Asked::Kth(1), 472),
        (pattern(1000), Asked::Kth(333), 574),
        (pattern(1000), Asked::Kth(1000), 499),
        (killer(4096), Asked::Sort(false), 16634671115631712),
        (killer(4096), Asked::Sort(true), 8965642954932364138),
        (killer(4096), Asked::TopK(1, true, true), 2048),
        (killer(4096), Asked::TopK(1, false, false), 1),
        (killer(4096), Asked::TopK(5, true, true), 3847755777),
        (killer(4096), Asked::TopK(5, false, false), 1892392678),
        (killer(4096), Asked::TopK(2048, true, true), 9122614875331603086),
        (killer(4096), Asked::TopK(2048, false, false), 509366398381749708),
        (killer(4096), Asked::TopK(4096, true, true), 16729667852355648586),
        (killer(4096), Asked::TopK(4096, false, false), 11673581321343799356),
        (killer(4096), Asked::Kth(1), 0),
        (killer(4096), Asked::Kth(1365), 2730),
        (killer(4096), Asked::Kth(4096), 4095),
    ]
}

#[test]
fn equal_elements_come_in_the_order_of_pytorch() {
    for (number, (x, asked, expected)) in table().into_iter().enumerate() {
        let found = answer(&x, &asked);
        let hash = found.iter().fold(0u64, |h, &i| h.wrapping_mul(31).wrapping_add(i as u64 + 1));
        let found = if matches!(asked, Asked::Kth(_)) { found[0] as u64 } else { hash };
        assert_eq!(found, expected, "line {number} of the table");
    }
}

//! Alters JSON as JSON: an element taken out, doubled, moved or exchanged. Altered byte by byte it hardly ever is JSON
//! that says something else.

use serde_json::{Value, json};

/// Alters `data[..size]` in place and says how long it is then; half of the time, and where it is no JSON, as
/// `by_bytes` does, which is libFuzzer's own way.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    by_bytes: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut dice = Dice(seed.into());
    if let Ok(mut value) = serde_json::from_slice::<Value>(&data[..size])
        && dice.below(2) == 0
    {
        alter(&mut value, &mut dice);
        let text = value.to_string();
        if text.len() <= max_size.min(data.len()) {
            data[..text.len()].copy_from_slice(text.as_bytes());
            return text.len();
        }
    }
    by_bytes(data, size, max_size)
}

/// SplitMix64 (Steele, Lea and Flood, 2014): what an input becomes follows from libFuzzer's seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }
}

fn alter(root: &mut Value, dice: &mut Dice) {
    let mut places = Vec::new();
    list(root, String::new(), &mut places);
    let (at, other) = (dice.below(places.len()), dice.below(places.len()));
    let copied = root.pointer(&places[other]).cloned().unwrap_or_default();
    let Some(found) = root.pointer_mut(&places[at]) else { return };
    match (dice.below(4), found) {
        (0, Value::Array(items)) if !items.is_empty() => _ = items.remove(dice.below(items.len())),
        (0, Value::Object(items)) if !items.is_empty() => {
            let name = items.keys().nth(dice.below(items.len())).cloned().unwrap_or_default();
            items.remove(&name);
        }
        (1, Value::Array(items)) => {
            let item = items.get(dice.below(items.len().max(1))).cloned();
            items.insert(dice.below(items.len() + 1), item.unwrap_or(copied));
        }
        (1, Value::Number(number)) => {
            let Some(whole) = number.as_u64() else { return };
            *number = whole.wrapping_add_signed([1, -1][dice.below(2)]).into();
        }
        (2, found) => *found = constant(dice),
        (_, found) => *found = copied,
    }
}

fn constant(dice: &mut Dice) -> Value {
    let all = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(4097),
        json!(u64::MAX),
        json!(0.5),
        json!(-0.0),
        json!(1e300),
        json!(""),
        json!("y"),
        json!([]),
        json!({}),
    ];
    all[dice.below(all.len())].clone()
}

/// Every place in a value, as JSON pointers.
fn list(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                list(item, format!("{place}/{number}"), places);
            }
        }
        Value::Object(items) => {
            for (name, item) in items {
                let name = name.replace('~', "~0").replace('/', "~1");
                list(item, format!("{place}/{name}"), places);
            }
        }
        _ => {}
    }
    places.push(place);
}

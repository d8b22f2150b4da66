#include "plan.hpp"

#include <algorithm>
#include <limits>

namespace repsr::cpu {
namespace {

constexpr double kL2Share = 0.7;         // of the cache for rows and weights: the rest is for pixels and the system
constexpr double kNextBytes = 60;        // a cycle from the cache beyond, as far as they do not come beside the work
constexpr double kMemoryBytes = 4;       // the same from memory
constexpr double kNextShare = 4;         // times the L2 cache, that a core can count on in the cache beyond
constexpr double kCallCycles = 200;      // of a row of a layer, whatever its length
constexpr double kLeastCycles = 3e5;     // of a thread, which takes as long as a tenth of that to start
constexpr double kUneven = 0.05;         // of a unit: how late the last thread is, as cores are never alike
constexpr int64_t kQuantum = 16;         // columns; block widths are tried in steps of these, or of a vector
constexpr int64_t kMostSteps = 512;
constexpr int64_t kMostUnits = 8;        // of a thread
constexpr int64_t kMostColumns = 1 << 16;  // of a block, whatever was asked for: memory for rows is bounded

int64_t divided_up(int64_t value, int64_t by) { return (value + by - 1) / by; }
int64_t rounded_up(int64_t value, int64_t to) { return divided_up(value, to) * to; }

// Cycles of one row through all layers, and of the rows around a unit, of a block of so many columns.
struct RowCost {
    double row = 0;   // of every row of a unit
    double halo = 0;  // more for a unit with rows above it, or below it
};

RowCost row_cost(const std::vector<LayerCost>& layers, const Machine& machine, int64_t width, int64_t columns,
                 int64_t sides) {
    RowCost cost;
    double kept = 0, moved = 0, weights = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
        const int64_t reach = static_cast<int64_t>(layers.size() - 1 - i);
        const int64_t made = std::min(columns + sides * reach, width);
        const double cycles = kCallCycles + static_cast<double>(rounded_up(made, machine.lanes)) * layers[i].cycles;
        const double bytes = static_cast<double>(made * layers[i].input_bytes);
        cost.row += cycles;
        cost.halo += cycles * static_cast<double>(reach);
        kept += 3 * bytes;
        moved += 4 * bytes;  // three rows are read, one is written
        weights += static_cast<double>(layers[i].weight_bytes);
    }
    const auto beyond = [&](double share) {  // how much of it is not found in a cache of that size
        return std::clamp((kept + weights) / (share * static_cast<double>(machine.l2_bytes)) - 1, 0.0, 1.0);
    };
    const double far = (moved + weights) * (beyond(kL2Share) / kNextBytes + beyond(kNextShare) / kMemoryBytes);
    cost.halo += far / cost.row * cost.halo;
    cost.row += far;
    return cost;
}

// The least number of columns, of whole vectors with what is around them, that make so many blocks.
int64_t columns_of(const Area& area, int64_t blocks, int64_t reach, int64_t quantum) {
    const int64_t columns = divided_up(area.width, blocks);
    const int64_t around = std::min<int64_t>(blocks - 1, 2) * reach;
    return std::min(rounded_up(columns + around, quantum) - around, area.width);
}

Plan plan_of(const Area& area, int64_t strip_rows, int64_t block_columns, int64_t threads) {
    const int64_t strips = divided_up(area.end_row - area.first_row, strip_rows);
    const int64_t blocks = divided_up(area.width, block_columns);
    return {area, strip_rows, block_columns, strips, blocks, std::min(threads, strips * blocks)};
}

// Keeps the best plan of those that it is told.
class Search {
public:
    Search(const Area& area, const std::vector<LayerCost>& layers, const Machine& machine, const Wishes& wishes)
        : area_(area), layers_(layers), machine_(machine), wishes_(wishes) {}

    void try_columns(int64_t columns) {
        const int64_t blocks = divided_up(area_.width, columns), rows = area_.end_row - area_.first_row;
        const RowCost cost = row_cost(layers_, machine_, area_.width, columns, std::min<int64_t>(blocks - 1, 2));
        const double alone = cost.row * static_cast<double>(rows * blocks);
        const int64_t threads = std::clamp<int64_t>(static_cast<int64_t>(alone / kLeastCycles), 1, wishes_.threads);
        if (wishes_.strip_rows > 0) return consider(wishes_.strip_rows, columns, threads, cost);
        const int64_t most = std::min(rows, divided_up(kMostUnits * threads, blocks));
        for (int64_t strips = 1; strips <= most; ++strips) consider(divided_up(rows, strips), columns, threads, cost);
    }

    const Plan& best() const { return best_; }

private:
    void consider(int64_t strip_rows, int64_t columns, int64_t threads, const RowCost& cost) {
        const Plan plan = plan_of(area_, strip_rows, columns, threads);
        const int64_t ends = (area_.first_row > 0) + (area_.end_row < area_.height) + plan.strips - 1;
        const double unit = static_cast<double>(std::min(strip_rows, area_.height)) * cost.row +
                            static_cast<double>(std::min<int64_t>(ends, 2)) * cost.halo;
        const double cycles = unit * (static_cast<double>(divided_up(plan.units(), plan.threads)) +
                                      (plan.threads > 1 ? kUneven : 0));
        if (cycles >= cycles_) return;
        cycles_ = cycles;
        best_ = plan;
    }

    const Area& area_;
    const std::vector<LayerCost>& layers_;
    const Machine& machine_;
    const Wishes& wishes_;
    double cycles_ = std::numeric_limits<double>::infinity();
    Plan best_{};
};

}  // namespace

Unit Plan::unit(int64_t index) const {
    const int64_t row = area.first_row + index / blocks * strip_rows, column = index % blocks * block_columns;
    return {row, std::min(row + strip_rows, area.end_row), column, std::min(column + block_columns, area.width)};
}

Plan make_plan(const Area& area, const std::vector<LayerCost>& layers, const Machine& machine, const Wishes& wishes) {
    Search search(area, layers, machine, wishes);
    if (wishes.block_columns > 0) {
        search.try_columns(std::min({wishes.block_columns, kMostColumns, area.width}));
        return search.best();
    }
    const int64_t quantum = rounded_up(kQuantum, machine.lanes);
    const int64_t reach = static_cast<int64_t>(layers.size()) - 1;
    int64_t tried = 0;
    if (area.width <= kMostColumns) search.try_columns(area.width);
    for (int64_t steps = std::min(divided_up(area.width, quantum), kMostSteps); steps > 0; --steps) {
        const int64_t blocks = divided_up(area.width, steps * quantum);
        if (blocks == tried) continue;
        tried = blocks;
        search.try_columns(columns_of(area, blocks, reach, quantum));
    }
    return search.best();
}

}  // namespace repsr::cpu

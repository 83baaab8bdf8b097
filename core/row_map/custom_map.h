// How kernels call a custom map (custom.h), and a map of either sort. Text like maps.h, which comes before it. The Row
// has to give its memory, row.data(), and Row::each(f, x) = f of every lane of an element.

struct CustomMap {
  static constexpr Metric metric = Metric::conjugate_hessian;
  static constexpr RowStatistic statistic = RowStatistic::whole_row;  // as far as anybody knows

  explicit CustomMap(const CustomRowMap& custom) : custom_(&custom) {}

  template <class Row>
  typename Row::Number weights(Row& row) const {
    HostRow<typename Row::Number> plain(row.data(), row.size());
    return custom_->weights(plain);
  }

  template <class Row>
  void recompute(Row& row, typename Row::Number stat) const {
    HostRow<typename Row::Number> plain(row.data(), row.size());
    custom_->recompute(plain, stat);
  }

  template <class Row, class Element, class Number>
  Element curvature(Element weight, Number n) const {
    return Row::each([&](Number a) { return custom_->curvature(a, n); }, weight);
  }

  template <class Row>
  typename Row::Number slack(typename Row::Number stat) const {
    return custom_->slack(stat);
  }

 private:
  const CustomRowMap* custom_;
};

/// Calls f with the struct of a built-in map, or with a CustomMap.
template <class F>
void visit_row_map(const RowMap& map, const F& f) {
  if (const auto* custom = std::get_if<std::shared_ptr<const CustomRowMap>>(&map)) return f(CustomMap(**custom));
  RowMaps::visit(map, f);
}

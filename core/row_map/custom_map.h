// The struct of RowMapKind::custom: hands rows in memory to a CustomRowMap (custom.h). The Row has to give its memory,
// row.data(), and Row::each(f, x) = f of every lane of an element. Part of core/row_map/maps.h.

struct CustomMap {
  static constexpr const char* name = "custom";
  static constexpr Metric metric = Metric::conjugate_hessian;
  static constexpr bool curvature_is_weight = false;

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

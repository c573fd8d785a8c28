// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=compute_80 --extended-lambda
//
// Thrust: sorts, scans, reductions, sets and searches over device vectors, with fancy iterators and with lambdas.

#include "check_cuda.h"
#include <algorithm>
#include <numeric>
#include <vector>

#include <thrust/binary_search.h>
#include <thrust/copy.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/iterator/constant_iterator.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/set_operations.h>
#include <thrust/sort.h>
#include <thrust/transform_reduce.h>
#include <thrust/tuple.h>
#include <thrust/unique.h>

using Vector = thrust::device_vector<int>;

static void require(const Vector &found, const std::vector<int> &expected, const char *what) {
    std::vector<int> host(expected.size());
    REQUIRE(found.size() >= expected.size());
    thrust::copy(found.begin(), found.begin() + expected.size(), host.begin());
    if (host != expected) FAIL("%s gives something else", what);
}

int main() {
    const int n = 9001;
    std::vector<int> values(n), keys(n), expected, other;
    for (int i = 0; i < n; i++) values[i] = (i * 2654435761u >> 7) - (1 << 23), keys[i] = (i * 40503u >> 3) % 97;
    const Vector device(values.begin(), values.end()), device_keys(keys.begin(), keys.end());
    Vector result = device, places(n);

    expected = values;
    std::sort(expected.begin(), expected.end());
    thrust::sort(result.begin(), result.end());
    require(result, expected, "sort");

    Vector sorted_keys = device_keys;
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] % 10 > keys[b] % 10; });
    thrust::copy(thrust::counting_iterator<int>(0), thrust::counting_iterator<int>(n), places.begin());
    thrust::stable_sort_by_key(sorted_keys.begin(), sorted_keys.end(), places.begin(),
                               [] __device__(int a, int b) { return a % 10 > b % 10; });
    require(places, order, "stable_sort_by_key");

    expected = keys;
    std::partial_sum(keys.begin(), keys.end(), expected.begin());
    thrust::inclusive_scan(device_keys.begin(), device_keys.end(), result.begin());
    require(result, expected, "inclusive_scan");
    thrust::exclusive_scan(thrust::device, device_keys.begin(), device_keys.end(), result.begin(), 5);
    REQUIRE_EQUAL(result[0], 5);
    REQUIRE_EQUAL(result[n - 1], 5 + expected[n - 2]);

    sorted_keys = device_keys;
    thrust::sort(sorted_keys.begin(), sorted_keys.end());
    Vector unique_keys(n), counts(n);
    auto ends = thrust::reduce_by_key(sorted_keys.begin(), sorted_keys.end(), thrust::make_constant_iterator(1),
                                      unique_keys.begin(), counts.begin());
    REQUIRE_EQUAL(ends.first - unique_keys.begin(), 97);
    expected.assign(97, 0);
    for (int key : keys) expected[key]++;
    require(counts, expected, "reduce_by_key");
    REQUIRE_EQUAL(thrust::unique(sorted_keys.begin(), sorted_keys.end()) - sorted_keys.begin(), 97);

    long long squares = thrust::transform_reduce(
        device_keys.begin(), device_keys.end(), [] __host__ __device__(int x) { return (long long)x * x; }, 0ll,
        thrust::plus<long long>());
    REQUIRE_EQUAL(squares, std::accumulate(keys.begin(), keys.end(), 0ll, [](long long sum, int x) { return sum + x * x; }));

    expected.clear();
    for (int i = 0; i < n; i++)
        if (keys[i] % 3 == 1) expected.push_back(i);
    auto end = thrust::copy_if(thrust::counting_iterator<int>(0), thrust::counting_iterator<int>(n), device_keys.begin(),
                               result.begin(), [] __host__ __device__(int key) { return key % 3 == 1; });
    REQUIRE_EQUAL(end - result.begin(), expected.size());
    require(result, expected, "copy_if");

    other.clear();
    std::vector<int> evens, threes;
    for (int i = 0; i < n; i += 2) evens.push_back(i);
    for (int i = 0; i < n; i += 3) threes.push_back(i);
    const Vector device_evens(evens.begin(), evens.end()), device_threes(threes.begin(), threes.end());
    std::set_symmetric_difference(evens.begin(), evens.end(), threes.begin(), threes.end(), std::back_inserter(other));
    end = thrust::set_symmetric_difference(device_evens.begin(), device_evens.end(), device_threes.begin(), device_threes.end(),
                                           result.begin());
    REQUIRE_EQUAL(end - result.begin(), other.size());
    require(result, other, "set_symmetric_difference");
    thrust::lower_bound(device_threes.begin(), device_threes.end(), device_evens.begin(), device_evens.end(), result.begin());
    for (int i = 0; i < 100; i++) REQUIRE_ELEMENT(result[i], (2 * i + 2) / 3, i);

    auto pairs = thrust::make_zip_iterator(thrust::make_tuple(device_keys.begin(), result.begin()));
    thrust::for_each(pairs, pairs + n, [] __device__(thrust::tuple<const int &, int &> pair) {
        thrust::get<1>(pair) = 2 * thrust::get<0>(pair) + 1;
    });
    REQUIRE_EQUAL(thrust::reduce(result.begin(), result.end()), 2 * std::accumulate(keys.begin(), keys.end(), 0) + n);
    return pass();
}

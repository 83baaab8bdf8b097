// The routines of LAPACK and BLAS that symmetric.cpp calls, and OpenBLAS's control of its threads. Matrices are
// column-major, integers 32 bits wide; the last arguments are the lengths of the strings, as Fortran passes them.
#pragma once

#include <cstddef>

extern "C" {
/// Eigenvalues, rising, into w, and the eigenvectors into a's columns, by divide and conquer.
void dsyevd_(const char* vectors, const char* triangle, const int* n, double* a, const int* lda, double* w,
             double* work, const int* work_size, int* integers, const int* integers_size, int* info, std::size_t,
             std::size_t);
/// The Cholesky factor in a triangle of a; info > 0 where there is none.
void dpotrf_(const char* triangle, const int* n, double* a, const int* lda, int* info, std::size_t);
/// The inverse, in that triangle, from the factor that dpotrf computed.
void dpotri_(const char* triangle, const int* n, double* a, const int* lda, int* info, std::size_t);
/// R in the upper triangle of a and Householder reflections below it, from which dorgqr forms Q.
void dgeqrf_(const int* m, const int* n, double* a, const int* lda, double* tau, double* work, const int* work_size,
             int* info);
void dorgqr_(const int* m, const int* n, const int* k, double* a, const int* lda, const double* tau, double* work,
             const int* work_size, int* info);
/// c = alpha a b^T.
void dgemm_(const char* transpose_a, const char* transpose_b, const int* m, const int* n, const int* k,
            const double* alpha, const double* a, const int* lda, const double* b, const int* ldb, const double* beta,
            double* c, const int* ldc, std::size_t, std::size_t);

int openblas_get_num_threads();
void openblas_set_num_threads(int threads);
/// 0 where it is built without threads.
int openblas_get_parallel();
}

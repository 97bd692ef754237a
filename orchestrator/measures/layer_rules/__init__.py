"""One file per kind of layer: its values, their tangents and gradients, and second derivatives.

``network_pass`` combines them into products of the Hessian and of the Gauss-Newton matrix with
several vectors at once.
"""
